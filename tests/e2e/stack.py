"""A relay, a daemon and real sessions in one isolated home, used the way a person uses them.

Nothing is started behind the back of `relay-agentd`: the first session starts relay and daemon.
Processes are found in the process table by the home they run in.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.support.ports import free_port
from tests.support.processes import describe, marked
from tests.support.providers import MARKER, READY, CliName, IsolatedHome, find_cli
from tests.support.standin import StandIn
from tests.support.terminal import Terminal
from tests.support.wait import eventually

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str, **arguments: Any) -> str:
    """The directive that makes a model call one of the relay's tools."""
    return f"[[mcp: relay {name} {json.dumps(arguments)}]]"


def free_url() -> str:
    """An address on this machine where nobody listens now."""
    return f"http://127.0.0.1:{free_port()}"


@dataclass(frozen=True, slots=True)
class Session:
    """A provider in its terminal, and what the relay knows it as."""

    name: CliName
    terminal: Terminal
    model: StandIn
    agent: dict[str, Any]

    @property
    def id(self) -> str:
        """The agent's id."""
        return str(self.agent["id"])


@dataclass
class Stack:
    """Everything of one test; sessions end with it."""

    home: IsolatedHome
    models: dict[str, StandIn]
    url: str
    client: httpx.Client
    terminals: list[Terminal] = field(default_factory=list)

    @classmethod
    def on_free_port(cls, home: IsolatedHome, models: dict[str, StandIn]) -> Self:
        """A stack whose relay will listen on a port nobody uses now."""
        url = free_url()
        return cls(home, models, url, httpx.Client(base_url=url, trust_env=False, timeout=20))

    def environment(self, provider: CliName | None = None) -> dict[str, str]:
        """A person's environment: the program of the provider on PATH, the relay's address set."""
        environment = self.home.environment(AGENT_RELAY_URL=self.url)
        folders = [str(Path(sys.executable).parent), environment["PATH"]]
        if provider is not None:
            folders.insert(0, str(self._bin(provider)))
        if not _is_installed():
            environment["PYTHONPATH"] = str(ROOT)
        return environment | {"PATH": os.pathsep.join(folders)}

    def run(self, name: CliName, *words: str, options: tuple[str, ...] = ()) -> Terminal:
        """Types `relay-agentd run OPTIONS PROVIDER -- WORDS` into a new terminal."""
        provider = "codex" if name == "codex" else "claude"
        argv = [sys.executable, "-m", "relay_agentd", "run", *options, provider]
        terminal = Terminal(
            [*argv, *(["--", *words] if words else [])], self.environment(name), self.home.project
        )
        self.terminals.append(terminal)
        return terminal

    def session(self, name: CliName, *words: str, options: tuple[str, ...] = ()) -> Session:
        """A session that takes prompts and is on the relay."""
        rig = "codex" if name == "codex" else "claude"
        before = {agent["id"] for agent in self.online()} if self.is_up() else set()
        connections = self.home.tool_connections()
        terminal = self.run(name, *words, options=options)
        terminal.wait_for_text(READY[name], within=40)
        if rig == "claude":
            eventually(lambda: self.home.tool_connections() > connections, within=40)
        agent = eventually(
            lambda: next((a for a in self.online(rig) if a["id"] not in before), None),
            within=20,
            message=lambda: f"no new {rig} agent; the terminal shows:\n{terminal.screen()}",
        )
        return Session(name, terminal, self.models[rig], agent or {})

    def background(
        self, name: CliName, *words: str, prompt: str, options: tuple[str, ...] = ()
    ) -> str:
        """A session without a terminal; its agent's id."""
        provider = "codex" if name == "codex" else "claude"
        argv = ["run", "--background", "--json", "--prompt", prompt, *options, provider]
        said = self.relay_agentd(*argv, *(["--", *words] if words else []), provider=name)
        return str(json.loads(said)["agentId"])

    def relay_agentd(self, *words: str, provider: CliName | None = None) -> str:
        """What one command of the command line prints; with `provider` on the PATH."""
        done = subprocess.run(
            [sys.executable, "-m", "relay_agentd", *words],
            env=self.environment(provider),
            cwd=self.home.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_up(self) -> bool:
        """Whether the relay answers."""
        try:
            return self.client.get("/healthz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def online(self, provider: str | None = None) -> list[dict[str, Any]]:
        """The agents of real sessions that are not offline."""
        agents = self.client.get("/api/agents").raise_for_status().json()["agents"]
        return [
            agent
            for agent in agents
            if agent["status"] != "offline"
            and not agent["builtIn"]
            and provider in {None, agent["provider"]}
        ]

    def agent(self, agent_id: str) -> dict[str, Any]:
        """One agent, as the relay shows it."""
        found = self.client.get(f"/api/agents/{agent_id}").raise_for_status().json()
        assert isinstance(found, dict)
        return found

    def send(self, to: str, body: str, **more: Any) -> int:
        """Sends a message as the operator, as anybody could with curl; returns its id."""
        message = {"from": "operator", "to": to, "body": body, **more}
        return int(self.client.post("/api/messages", json=message).raise_for_status().json()["id"])

    def wait_until_in_context(self, message_id: int, within: int = 30) -> None:
        """Waits for the receiving session's own proof."""
        answer = self.client.get(
            f"/api/messages/{message_id}",
            params={"wait": within, "for": "in_context"},
            timeout=within + 10,
        ).raise_for_status()
        receipts = answer.json()["receipts"]
        states = [receipt["state"] for receipt in receipts]
        assert states, answer.text
        assert set(states) <= {"in_context", "read", "replied"}, answer.text

    def daemon(self) -> psutil.Process:
        """The daemon's process."""
        return self._background("relay_agentd")

    def relay(self) -> psutil.Process:
        """The relay's process."""
        return self._background("relay_server")

    def of_sessions(self) -> list[psutil.Process]:
        """Everything in this home but relay and daemon."""
        return [each for each in marked(MARKER, str(self.home.path)) if not _serves(each)]

    def expect_no_session_left(self, within: float = 5.0) -> None:
        """No process and no folder of a session is left, within the time the contract gives."""
        eventually(
            lambda: not self.of_sessions(),
            within,
            message=lambda: f"still running:\n{describe(self.of_sessions())}",
        )
        eventually(
            lambda: not self.session_folders(),
            within,
            message=lambda: f"still there: {self.session_folders()}",
        )

    def session_folders(self) -> list[Path]:
        """The temporary folders of sessions."""
        return list(self.home.runtime.glob("*/s-*/*"))

    def logs(self) -> str:
        """What relay and daemon wrote, for a failing test."""
        files = sorted((self.home.path / ".local" / "state").glob("**/*.*"))
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-6000:]}"
            for file in files
            if file.suffix in {".log", ".out"}
        )

    def close(self) -> None:
        """Ends the sessions; whatever outlives them is the home's to end."""
        for terminal in self.terminals:
            terminal.close()
        self.client.close()

    def _background(self, module: str) -> psutil.Process:
        processes = [each for each in marked(MARKER, str(self.home.path)) if _serves(each, module)]
        assert len(processes) == 1, describe(processes)
        return processes[0]

    def _bin(self, name: CliName) -> Path:
        """A folder with the provider's program under its common name."""
        folder = self.home.path / "bin" / name
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / name.partition("-")[0]
        if not link.is_symlink():
            link.symlink_to(find_cli(name).resolve())
        return folder


def _is_installed() -> bool:
    try:
        importlib.metadata.distribution("agent-relay")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _serves(process: psutil.Process, *modules: str) -> bool:
    """Whether a process is relay or daemon (or one of them)."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "serve" in words and bool({*(modules or ("relay_server", "relay_agentd"))} & {*words})
