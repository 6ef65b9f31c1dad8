"""A real Claude Code in a real terminal, with a stand-in model and the bench as its daemon."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import relay_agentd
from relay_launchers.base import ApprovalMode, Binary, LaunchPlan, LaunchRequest
from relay_launchers.claude.plan import ClaudeProvider
from relay_server.wire import ApprovalMode as WireMode
from tests.claude.bench import Bench
from tests.support.providers import CliName, IsolatedHome, find_cli
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.terminal import Terminal
from tests.support.wait import eventually

PIPE = Path(relay_agentd.__file__).with_name("mcp_pipe.py")
READY = r"shift\+tab|for shortcuts|for agents"


@dataclass
class Stage:
    """One session at a time; `start` opens it."""

    home: IsolatedHome
    model: StandInAnthropic
    bench: Bench
    binary: Binary
    extra: Mapping[str, str] = field(default_factory=dict)
    mcp_config: str = ""
    python: Path = Path(sys.executable)
    terminals: list[Terminal] = field(default_factory=list)

    def plan(self, approval: ApprovalMode = "open", arguments: Sequence[str] = ()) -> LaunchPlan:
        """The real plan of the real provider."""
        return ClaudeProvider().plan(
            LaunchRequest(
                session_key=self.bench.key,
                folder=self.bench.folder,
                cwd=self.home.project,
                approval=approval,
                arguments=arguments,
                binary=self.binary,
                control_socket=self.bench.control,
                python=self.python,
                pipe=PIPE,
                environment=self.home.environment(**self.extra),
            )
        )

    def launch(self, approval: ApprovalMode = "open", arguments: Sequence[str] = ()) -> Terminal:
        """Start a session without waiting for anything."""
        self.bench.approval = WireMode(approval)
        plan = self.plan(approval, arguments)
        for path, content in plan.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        terminal = Terminal(
            plan.provider.argv, env=plan.provider.environment, cwd=plan.provider.cwd
        )
        self.terminals.append(terminal)
        return terminal

    def start(self, approval: ApprovalMode = "open", arguments: Sequence[str] = ()) -> Terminal:
        """Start a session and wait until it is registered and takes input."""
        before, connections = len(self.bench.opens), self.home.tool_connections()
        terminal = self.launch(approval, arguments)
        eventually(
            lambda: len(self.bench.opens) > before,
            30,
            message=lambda: f"no SessionStart:\n{terminal.screen()}",
        )
        terminal.wait_for_text(READY)
        eventually(lambda: self.home.tool_connections() > connections, 30)
        return terminal

    def restart_daemon(self) -> None:
        """Another daemon takes over, which knows only what the first one wrote down."""
        self.bench.close()
        approval = self.bench.approval
        self.bench = Bench(self.bench.folder, self.bench.cwd, self.bench.control)
        self.bench.approval = approval

    def queued(self, number: int) -> bool:
        """Whether the session's transcript shows this message waiting in its queue."""
        return any(
            f"[msg:{number}]" in line and '"enqueue"' in line
            for transcript in (self.home.claude_config / "projects").rglob("*.jsonl")
            for line in transcript.read_text().splitlines()
        )

    def answers(self) -> list[str]:
        """What the tools answered the model in its newest request."""
        blocks = [
            block
            for message in self.model.main_requests[-1].body["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
            if block.get("type") == "tool_result"
        ]
        return [str(block.get("content")) for block in blocks]


@pytest.fixture(params=["claude-2.1.197", "claude-2.1.330"])
def cli(request: pytest.FixtureRequest) -> CliName:
    """Each version the integration is proved on."""
    name: CliName = request.param
    return name


@pytest.fixture
def stage(cli: CliName, home: IsolatedHome, anthropic: StandInAnthropic) -> Iterator[Stage]:
    binary = Binary(path=find_cli(cli), version=cli.removeprefix("claude-"))
    folder = home.runtime / "session"
    folder.mkdir(mode=0o700)
    bench = Bench(folder, home.project, home.runtime / "control.sock")
    staged = Stage(home, anthropic, bench, binary)
    try:
        yield staged
    finally:
        for terminal in staged.terminals:
            terminal.close()
        staged.bench.close()


@pytest.fixture
def anyio_backend() -> str:
    """The daemon's loop is asyncio's."""
    return "asyncio"
