"""How Claude Code is started without a terminal."""

import json
import re
from pathlib import Path

import pytest

from relay_launchers.base import (
    ApprovalMode,
    ArgumentsRefused,
    BackgroundPlan,
    Binary,
    LaunchRequest,
)
from relay_launchers.claude.background import permission_mode
from relay_launchers.claude.plan import ClaudeProvider

NEW = "11111111-2222-4333-8444-555555555555"
KNOWN = "99999999-8888-4777-8666-555555555555"


class Machine:
    """A person's Claude Code folder, and a session to plan."""

    def __init__(self, root: Path) -> None:
        self.config = root / "config"
        self.folder = root / "session"

    def plan(
        self,
        *arguments: str,
        resume: str | None = None,
        approval: ApprovalMode = "open",
        version: str = "2.1.330",
    ) -> BackgroundPlan:
        request = LaunchRequest(
            session_key="0123456789abcdef",
            folder=self.folder,
            cwd=Path("/home/me/shop"),
            approval=approval,
            arguments=arguments,
            binary=Binary(path=Path("/opt/claude"), version=version),
            control_socket=Path("/run/control.sock"),
            python=Path("/usr/bin/python3"),
            pipe=Path("/opt/relay/mcp_pipe.py"),
            environment={
                "HOME": "/home/me",
                "CLAUDE_CONFIG_DIR": str(self.config),
                "AGENT_RELAY_TOKEN": "secret",
            },
        )
        return ClaudeProvider(lambda: NEW).plan_background(request, resume=resume)

    def record(self, *kinds: str) -> None:
        """A transcript of the known conversation."""
        transcript = self.config / "projects" / "-home-me-shop" / f"{KNOWN}.jsonl"
        transcript.parent.mkdir(parents=True)
        transcript.write_text("".join(json.dumps({"type": kind}) + "\n" for kind in kinds))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def claude(plan: BackgroundPlan) -> list[str]:
    """The command of Claude Code itself."""
    return list(plan.host.argv[6:])


def value(plan: BackgroundPlan, option: str) -> str:
    argv = claude(plan)
    return argv[argv.index(option) + 1]


def test_the_host_is_the_bridge_with_claude_code_behind_it(machine: Machine) -> None:
    plan = machine.plan()

    assert plan.host.argv[:6] == (
        *("/usr/bin/python3", "-I", "-S", "/opt/relay/stream_bridge.py"),
        *(str(machine.folder / "stream.sock"), NEW),
    )
    assert claude(plan)[:2] == ["/opt/claude", "-p"]
    assert plan.socket == machine.folder / "stream.sock"
    assert plan.host.cwd == Path("/home/me/shop")
    assert "AGENT_RELAY_TOKEN" not in plan.host.environment
    assert machine.folder / "claude-plugin" / ".mcp.json" in plan.files


def test_a_new_session_has_an_id_from_the_start(machine: Machine) -> None:
    plan = machine.plan()

    assert plan.provider_session_id == NEW
    assert value(plan, "--session-id") == NEW


def test_a_conversation_goes_on_under_its_id(machine: Machine) -> None:
    machine.record("queue-operation", "user", "assistant")

    plan = machine.plan(resume=KNOWN)

    assert plan.provider_session_id == KNOWN
    assert value(plan, "--resume") == KNOWN
    assert "--session-id" not in claude(plan)


def test_one_that_never_began_takes_its_id_again(machine: Machine) -> None:
    plan = machine.plan(resume=KNOWN)

    assert plan.provider_session_id == KNOWN
    assert value(plan, "--session-id") == KNOWN


def test_one_that_ended_before_its_first_message_was_read_gets_another_id(
    machine: Machine,
) -> None:
    machine.record("queue-operation")

    assert machine.plan(resume=KNOWN).provider_session_id == NEW


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume", KNOWN),
        ("-c",),
        ("--resume", KNOWN, "--fork-session"),
        (f"--session-id={KNOWN}",),
    ],
)
def test_the_users_own_choice_of_a_conversation_counts_for_the_first_start_only(
    machine: Machine, arguments: tuple[str, ...]
) -> None:
    machine.record("user")

    first = machine.plan(*arguments, "--model", "opus")
    again = machine.plan(*arguments, "--model", "opus", resume=KNOWN)

    assert NEW not in first.host.argv
    assert claude(first)[-2:] == claude(again)[-2:] == ["--model", "opus"]
    assert claude(again).count("--resume") == 1
    assert not {"-c", "--fork-session", "--session-id"} & set(claude(again))


@pytest.mark.parametrize(
    ("approval", "version", "mode"),
    [
        ("guarded", "2.1.197", "default"),
        ("guarded", "2.1.330", "manual"),
        ("read-only", "2.1.330", "dontAsk"),
    ],
)
def test_the_approval_mode_has_the_flags_it_has_in_a_terminal(
    machine: Machine, approval: ApprovalMode, version: str, mode: str
) -> None:
    plan = machine.plan(approval=approval, version=version)

    assert value(plan, "--permission-mode") == mode
    assert value(plan, "--permission-prompt-tool") == "stdio"


def test_an_open_session_has_its_users_own_mode(machine: Machine) -> None:
    plan = machine.plan("--permission-mode", "acceptEdits")

    assert claude(plan).count("--permission-mode") == 1
    assert plan.approval_overrides == ("--permission-mode acceptEdits",)


def test_a_mode_chosen_while_it_runs_has_one_of_claude_codes() -> None:
    modes = [permission_mode(mode) for mode in ("open", "guarded", "read-only")]

    assert modes == ["default", "default", "dontAsk"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fix the build",), "'fix the build' is no option: give the first prompt with --prompt"),
        (("--", "fix"), "--prompt"),
        (("-p",), "-p is set by the relay"),
        (("--output-format", "json"), "--output-format is set by the relay"),
        (("--permission-prompt-tool=x",), "--permission-prompt-tool is set by the relay"),
        (("mcp", "list"), "this starts no session"),
        (("--help",), "this starts no session"),
        (("--bg",), "this starts no session"),
        (("--no-session-persistence",), "leave --no-session-persistence out"),
    ],
)
def test_what_makes_no_sense_without_a_terminal_is_refused(
    machine: Machine, arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ArgumentsRefused, match=re.escape(says)):
        machine.plan(*arguments)


def test_claude_codes_own_terminal_cannot_join(machine: Machine) -> None:
    plan = machine.plan()
    request = LaunchRequest(
        session_key="0",
        folder=machine.folder,
        cwd=plan.host.cwd,
        approval="open",
        arguments=(),
        binary=Binary(path=Path("/opt/claude"), version="2.1.330"),
        control_socket=Path("/run/control.sock"),
        python=Path("/usr/bin/python3"),
        pipe=Path("/opt/relay/mcp_pipe.py"),
        environment={},
    )

    assert ClaudeProvider().attach_command(request, plan.socket, NEW) is None
