"""A real Codex in a real terminal on its own app-server, with a stand-in model."""

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay_launchers.base import ApprovalMode, Command, LaunchPlan, LaunchRequest
from relay_launchers.codex.find import OVERRIDE_VARIABLE, find_codex
from relay_launchers.codex.plan import CodexProvider
from relay_server.wire import ApprovalMode as ModeInForce
from tests.codex.bench import Attached, RecordingPort
from tests.support.providers import READY, IsolatedHome, find_cli
from tests.support.standin_openai import StandInOpenAI
from tests.support.terminal import Terminal
from tests.support.wait import eventually

TOOL_SERVER = Path(__file__).with_name("tool_server.py")


@dataclass
class Stage:
    """Sessions of one home, one at a time; `start` opens one."""

    home: IsolatedHome
    model: StandInOpenAI
    codex: Path
    port: RecordingPort
    plan: LaunchPlan | None = None
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)
    terminals: list[Terminal] = field(default_factory=list)

    def make_plan(
        self, approval: ApprovalMode = "open", arguments: Sequence[str] = ()
    ) -> LaunchPlan:
        """The real plan of the real provider."""
        environment = self.home.environment(**{OVERRIDE_VARIABLE: str(self.codex)})
        return CodexProvider().plan(
            LaunchRequest(
                session_key=self.port.key,
                folder=self.port.folder,
                cwd=self.home.project,
                approval=approval,
                arguments=arguments,
                binary=find_codex(environment),
                control_socket=self.home.runtime / "control.sock",
                python=Path(sys.executable),
                pipe=TOOL_SERVER,
                environment=environment,
            )
        )

    def start(self, approval: ApprovalMode = "open", arguments: Sequence[str] = ()) -> Attached:
        """Start a session as the launcher does: app-server, adapter, terminal."""
        attached = self.start_server(approval, arguments)
        assert self.plan is not None
        self.open_terminal(self.plan.provider)
        attached.wait_opened()
        eventually(lambda: attached.port.times_ready, 20)
        self.terminal.wait_for_text(READY["codex"])
        return attached

    def start_server(
        self, approval: ApprovalMode = "open", arguments: Sequence[str] = ()
    ) -> Attached:
        """Start the app-server and an adapter on it."""
        self.plan = plan = self.make_plan(approval, arguments)
        self.port.approval = ModeInForce(approval)
        assert plan.helper is not None
        assert plan.helper_socket is not None
        for path, content in plan.files.items():
            path.write_text(content)
        self.servers.append(_spawn(plan.helper, self.home.runtime / "app-server.log"))
        eventually(plan.helper_socket.is_socket, 20)
        return self.attach()

    def attach(self) -> Attached:
        """An adapter on the running app-server."""
        assert self.plan is not None
        assert self.plan.helper_socket is not None
        self.attached.append(Attached(self.port, self.plan.helper_socket))
        return self.attached[-1]

    def reattach(self) -> Attached:
        """Another daemon's adapter on the same app-server, with nothing in its memory."""
        self.attached[-1].close()
        old = self.port
        self.port = RecordingPort(
            key=old.key, folder=old.folder, cwd=old.cwd, text=old.text, approval=old.approval
        )
        return self.attach()

    def open_terminal(self, command: Command) -> Terminal:
        """The provider in a terminal of its own."""
        terminal = Terminal(command.argv, env=command.environment, cwd=command.cwd)
        self.terminals.append(terminal)
        return terminal

    def stop(self) -> None:
        """End the session as the launcher does, so that another may start."""
        for terminal in self.terminals:
            terminal.close()
        for attached in self.attached:
            attached.close()
        for path in self.port.folder.iterdir():
            if not path.is_symlink():
                path.unlink()
        for server in self.servers:
            _end(server)
        self.terminals, self.attached, self.servers = [], [], []
        self.port = RecordingPort(
            key=self.port.key, folder=self.port.folder, cwd=self.port.cwd, text=self.port.text
        )

    @property
    def terminal(self) -> Terminal:
        return self.terminals[-1]

    def calls(self) -> list[str]:
        """The tool calls that reached the session's own MCP server."""
        log = self.home.runtime / "control.sock.calls"
        return log.read_text().splitlines() if log.exists() else []

    def wait_shown(self, number: int, times: int = 1) -> None:
        """Waits until the model has seen a message so many times."""
        eventually(
            lambda: self.model.message_ids().count(number) >= times,
            20,
            message=lambda: f"seen: {self.model.message_ids()}\n{self.terminal.screen()}",
        )


def _spawn(command: Command, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command.argv,
            env=dict(command.environment),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _end(server: subprocess.Popen[bytes]) -> None:
    """The first signal lets a running turn finish first, the second does not."""
    server.terminate()
    try:
        server.wait(1)
    except subprocess.TimeoutExpired:
        server.terminate()
        server.wait(10)


@pytest.fixture
def codex() -> Path:
    """The program the sessions run."""
    return find_cli("codex")


@pytest.fixture
def stage(codex: Path, home: IsolatedHome, openai: StandInOpenAI) -> Iterator[Stage]:
    folder = home.runtime / "session"
    folder.mkdir(mode=0o700)
    port = RecordingPort(key=secrets.token_hex(8), folder=folder, cwd=home.project)
    staged = Stage(home, openai, codex, port)
    try:
        yield staged
    finally:
        staged.stop()
