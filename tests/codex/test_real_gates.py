"""What a real Codex might try: in read-only all of it is stopped, in guarded asked or stopped.

One session a mode, one turn with every attempt in it. What an attempt did shows outside: a file
that is there or gone, a call that a server of this test got.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay_server.wire import AgentStatus, Decision
from tests.codex.bench import Attached, a_delivery
from tests.codex.conftest import TOOL_SERVER, Stage
from tests.support.script import Say
from tests.support.wait import eventually
from tests.support.webhook_receiver import WebhookReceiver

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

ALLOWED_FOR_EVER = '\n[mcp_servers.{name}.tools.relay_send]\napproval_mode = "approve"\n'
SERVER = """
[mcp_servers.{name}]
command = {python}
args = [{program}]
env = {{ AGENT_RELAY_SESSION = "{name}", AGENT_RELAY_CONTROL = {log} }}
default_tools_approval_mode = "approve"
"""
PATCH = "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: {}\n+text\n*** End Patch\nEOF"


@dataclass
class Attempts:
    """What the model is told to try, and the traces it would leave."""

    stage: Stage
    receiver: WebhookReceiver
    steps: list[str] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)

    def make(self, kind: str, path: Path, command: str = "touch {}") -> str:
        """An attempt that would leave a file."""
        self.made.append(path)
        return f"[[{kind}: {command.format(path)}]]"

    def traces(self) -> list[str]:
        """All that got through."""
        left = [str(path) for path in self.made if path.exists()]
        gone = [str(path) for path in (self.victim,) if not path.exists()]
        calls = [str(log) for log in self.stage.home.runtime.glob("other_*.calls")]
        return [*left, *gone, *calls, *(each.path for each in self.receiver.received)]

    @property
    def victim(self) -> Path:
        return self.stage.home.project / "victim"


@pytest.fixture
def attempts(stage: Stage) -> Iterator[Attempts]:
    """A home whose person has allowed Codex a lot, and a turn that makes use of it."""
    home = stage.home
    subprocess.run(["git", "init", "-q", str(home.project)], check=True, env=home.environment())
    (home.project / "victim").write_text("mine")
    (home.codex_home / "rules").mkdir()
    rule = 'prefix_rule(pattern=["touch"], decision="allow")\n'
    (home.codex_home / "rules" / "default.rules").write_text(rule)
    _allow_servers(stage)
    with WebhookReceiver() as receiver:
        tried = Attempts(stage, receiver)
        tried.steps = [
            tried.make("shell", home.project / "by-command", "echo text > {}"),
            tried.make("shell", home.project / "by-rule"),
            tried.make("shellesc", home.project / "by-rule-outside-the-sandbox"),
            tried.make("shellesc", home.project / "by-command-outside", "echo text > {}"),
            tried.make("shell", home.path / "beside-the-project", "echo text > {}"),
            tried.make("shell", home.temporary / "temporary", "echo text > {}"),
            tried.make("shell", home.project / ".git" / "hooks" / "post-commit", "echo text > {}"),
            tried.make("shell", home.project / "by-patch", PATCH),
            f"[[shell: rm -f {tried.victim}]]",
            f"[[shell: curl -sS -d text {receiver.url}/by-command]]",
            '[[mcp: other_home relay_send {"to": "somebody"}]]',
            '[[mcp: other_project relay_send {"to": "somebody"}]]',
            _by_sub_agent(tried),
        ]
        yield tried


def _allow_servers(stage: Stage) -> None:
    """Two MCP servers whose tools the person lets run unasked, one of them even by name."""
    project = stage.home.project / ".codex"
    project.mkdir()
    for name, file in (
        ("other_home", stage.home.codex_home / "config.toml"),
        ("other_project", project / "config.toml"),
    ):
        text = SERVER.format(
            name=name,
            python=json.dumps(sys.executable),
            program=json.dumps(str(TOOL_SERVER)),
            log=json.dumps(str(stage.home.runtime / name)),
        )
        with file.open("a") as config:
            config.write(text + ALLOWED_FOR_EVER.format(name=name))


def _by_sub_agent(tried: Attempts) -> str:
    project = tried.stage.home.project
    steps = [
        tried.make("shell", project / "by-sub-agent", "echo text > {}"),
        tried.make("shellesc", project / "by-sub-agent-outside", "echo text > {}"),
        "[[say: sub-agent tried it all]]",
    ]
    message = json.dumps({"message": f"try {' '.join(steps)}"})
    return f"[[tool: multi_agent_v1/spawn_agent {message}]]"


def run(attempts: Attempts, attached: Attached) -> set[str]:
    """Lets the model try everything, denies what is asked; the questions."""
    denied: set[str] = set()

    def is_over() -> bool:
        for ask in list(attached.port.asks):
            if ask.id not in denied:
                denied.add(ask.id)
                assert attempts.traces() == []
                attached.answer(ask.id, Decision.DENY, reason="not that")
        said = [each.step.action for each in attempts.stage.model.requests]
        ends = (Say("tried it all"), Say("sub-agent tried it all"))
        return all(end in said for end in ends) and attached.port.is_idle

    attached.push(a_delivery(1, f"try {' '.join(attempts.steps)} [[say: tried it all]]"))
    eventually(is_over, 60, message=attempts.stage.terminal.screen)
    return {ask.summary for ask in attached.port.asks}


def test_read_only_stops_everything_and_asks_nobody(attempts: Attempts, stage: Stage) -> None:
    attached = stage.start("read-only")

    asked = run(attempts, attached)

    assert attempts.traces() == []
    assert asked == set()
    assert AgentStatus.WAITING not in [status for status, _ in attached.port.statuses]
    assert "web_search" not in json.dumps(stage.model.main_requests[-1].body["tools"])


def test_guarded_asks_or_stops_everything(attempts: Attempts, stage: Stage) -> None:
    attached = stage.start("guarded")

    asked = run(attempts, attached)

    assert attempts.traces() == []
    project = stage.home.project
    assert asked == {
        f"echo text > {project}/by-command-outside",
        f"echo text > {project}/by-sub-agent-outside",
        "add by-patch",
        f"rm -f {project}/victim",
        "other_home: relay_send to=somebody",
        "other_project: relay_send to=somebody",
    }
    assert "web_search" not in json.dumps(stage.model.main_requests[-1].body["tools"])
    # Each denial was told with its reason.
    assert json.dumps(stage.model.main_requests[-1].body).count("not that") >= len(asked) - 1


def test_open_lets_the_persons_own_settings_decide(attempts: Attempts, stage: Stage) -> None:
    """That the attempts above are stopped by the mode, and by nothing else."""
    attached = stage.start("open")

    run(attempts, attached)

    through = {Path(trace).name for trace in attempts.traces()}
    assert {"by-command", "by-rule", "by-patch", "temporary", "by-sub-agent"} <= through
    assert {"other_home.calls", "other_project.calls"} <= through
