"""What a launch of Claude Code looks like."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from relay_launchers.base import ApprovalMode, Binary, LaunchPlan, LaunchRequest
from relay_launchers.claude.plan import ClaudeProvider
from relay_launchers.claude.plugin_files import FAILSAFE, HOOK_PROGRAM

FOLDER = Path("/run/relay/sessions/0123456789abcdef")
SESSION_ID = "11111111-2222-4333-8444-555555555555"
RELAY_TOOLS = "mcp__plugin_relay_relay__*"


def planned(
    approval: ApprovalMode = "open",
    arguments: Sequence[str] = (),
    version: str = "2.1.330",
    environment: Mapping[str, str] | None = None,
    cwd: Path = Path("/home/me/shop"),
) -> LaunchPlan:
    return ClaudeProvider(lambda: SESSION_ID).plan(
        LaunchRequest(
            session_key="0123456789abcdef",
            folder=FOLDER,
            cwd=cwd,
            approval=approval,
            arguments=arguments,
            binary=Binary(path=Path("/opt/claude"), version=version),
            control_socket=Path("/run/relay/control.sock"),
            python=Path("/opt/relay/bin/python"),
            pipe=Path("/opt/relay/mcp_pipe.py"),
            environment=environment or {"PATH": "/bin"},
        )
    )


def ours(plan: LaunchPlan, arguments: Sequence[str] = ()) -> list[str]:
    """The flags before the person's own arguments."""
    argv = plan.provider.argv
    assert tuple(argv[len(argv) - len(arguments) :]) == tuple(arguments)
    return list(argv[1 : len(argv) - len(arguments)])


def test_open_keeps_the_persons_own_mode_and_allows_the_relay_tools() -> None:
    plan = planned("open")

    assert ours(plan) == [
        *("--session-id", SESSION_ID),
        *("--allowedTools", RELAY_TOOLS),
        *("--plugin-dir", str(FOLDER / "claude-plugin")),
    ]
    assert plan.provider_session_id == SESSION_ID


@pytest.mark.parametrize(
    ("version", "mode"), [("2.1.197", "default"), ("2.1.330", "manual"), ("2.2.0", "manual")]
)
def test_guarded_starts_in_the_mode_that_asks(version: str, mode: str) -> None:
    flags = ours(planned("guarded", version=version))

    assert flags[flags.index("--permission-mode") + 1] == mode


def test_guarded_sub_agents_work_where_their_dialogs_show() -> None:
    variable = "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"

    assert planned("guarded").provider.environment[variable] == "1"
    assert variable not in planned("open").provider.environment


def test_read_only_never_asks_and_forbids_the_editing_tools() -> None:
    flags = " ".join(ours(planned("read-only")))

    assert "--permission-mode dontAsk" in flags
    assert "--disallowedTools Edit Write NotebookEdit WebFetch" in flags
    assert "--allowedTools Read Grep Glob" in flags
    assert RELAY_TOOLS in flags


@pytest.mark.parametrize("approval", ["open", "guarded", "read-only"])
def test_the_persons_arguments_come_last_behind_an_option_with_one_value(
    approval: ApprovalMode,
) -> None:
    flags = ours(planned(approval, ["fix the bug"]), ["fix the bug"])

    assert flags[-2] == "--plugin-dir"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--resume", "abc"],
        ["-r"],
        ["--continue"],
        ["-c"],
        ["--resume", "abc", "--fork-session"],
        ["--resume=abc"],
        ["--from-pr", "7"],
    ],
)
def test_no_conversation_id_is_chosen_for_a_person_who_chose_one(arguments: list[str]) -> None:
    plan = planned(arguments=arguments)

    assert "--session-id" not in ours(plan, arguments)
    assert plan.provider_session_id is None


def test_a_conversation_id_the_person_wrote_is_known_in_advance() -> None:
    plan = planned(arguments=["--session-id", "abc"])

    assert plan.provider.argv.count("--session-id") == 1
    assert plan.provider_session_id == "abc"


def test_an_option_inside_another_options_value_is_not_an_option() -> None:
    plan = planned(arguments=["--append-system-prompt", "--resume"])

    assert plan.provider_session_id == SESSION_ID


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (["--permission-mode", "plan"], ("--permission-mode plan",)),
        (["--dangerously-skip-permissions"], ("--dangerously-skip-permissions",)),
        (
            ["--allowedTools", "Bash(git *)", "Edit", "--verbose"],
            ("--allowedTools Bash(git *) Edit",),
        ),
        (["--disallowed-tools=Bash"], ("--disallowed-tools Bash",)),
        (["--model", "opus", "--", "--permission-mode"], ()),
        (["--bare"], ("--bare",)),
        (["--settings", "mine.json"], ("--settings mine.json",)),
    ],
)
def test_the_persons_own_approval_flags_are_reported(
    arguments: list[str], reported: tuple[str, ...]
) -> None:
    assert planned("guarded", arguments).approval_overrides == reported


@pytest.mark.parametrize(
    "arguments", [["--permission-mode", "plan"], ["--dangerously-skip-permissions"]]
)
def test_the_persons_own_permission_mode_wins(arguments: list[str]) -> None:
    plan = planned("read-only", arguments)

    assert "--permission-mode" not in ours(plan, arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["mcp", "list"],
        ["--model", "opus", "doctor"],
        ["plugin", "install", "x"],
        ["--version"],
        ["-p", "hi", "--help"],
        ["--bg", "do it"],
    ],
)
def test_what_is_no_session_here_runs_untouched(arguments: list[str]) -> None:
    plan = planned(arguments=arguments, environment={"PATH": "/bin", "AGENT_RELAY_TOKEN": "t"})

    assert not plan.on_relay
    assert plan.provider.argv == ("/opt/claude", *arguments)
    assert plan.provider.environment == {"PATH": "/bin", "AGENT_RELAY_TOKEN": "t"}
    assert not plan.files


@pytest.mark.parametrize(
    "arguments", [["-p", "mcp list"], ["--model", "mcp"], ["--add-dir", "mcp", "doctor"]]
)
def test_a_word_that_is_no_subcommand_there_is_a_session(arguments: list[str]) -> None:
    assert planned(arguments=arguments).on_relay


def test_the_environment_names_the_session_and_keeps_the_relay_token_out() -> None:
    environment = planned(
        environment={"PATH": "/bin", "AGENT_RELAY_TOKEN": "t", "CLAUDE_CODE_MESSAGING_SOCKET": "/x"}
    ).provider.environment

    assert environment == {
        "PATH": "/bin",
        "AGENT_RELAY_SESSION": "0123456789abcdef",
        "AGENT_RELAY_CONTROL": "/run/relay/control.sock",
        "AGENT_RELAY_SESSION_DIR": str(FOLDER),
    }


@pytest.mark.parametrize(
    "arguments",
    [["--dangerously-skip-permissions"], ["--permission-mode=bypassPermissions"]],
)
def test_a_session_that_bypasses_permissions_is_woken_by_the_bell(arguments: list[str]) -> None:
    environment = planned(arguments=arguments).provider.environment

    assert environment["AGENT_RELAY_CLAUDE_INBOUND"] == "bell"


@pytest.mark.parametrize("place", ["person", "project", "local", "option", "inline"])
@pytest.mark.parametrize(("mode", "way"), [("bypassPermissions", "bell"), ("acceptEdits", None)])
def test_settings_that_bypass_permissions_are_known_before_the_start(
    place: str, mode: str, way: str | None, tmp_path: Path
) -> None:
    settings = json.dumps({"permissions": {"defaultMode": mode}})
    files = {
        "person": tmp_path / "config" / "settings.json",
        "project": tmp_path / ".claude" / "settings.json",
        "local": tmp_path / ".claude" / "settings.local.json",
        "option": tmp_path / "mine.json",
    }
    if place in files:
        files[place].parent.mkdir(exist_ok=True)
        files[place].write_text(settings)
    arguments = {"option": ["--settings", "mine.json"], "inline": [f"--settings={settings}"]}

    plan = planned(
        arguments=arguments.get(place, []),
        environment={"CLAUDE_CONFIG_DIR": str(tmp_path / "config")},
        cwd=tmp_path,
    )

    assert plan.provider.environment.get("AGENT_RELAY_CLAUDE_INBOUND") == way


@pytest.mark.parametrize("content", ["", "[]", '"x"', '{"permissions": []}', '{"permissions": 1}'])
def test_settings_that_cannot_be_read_do_not_stop_a_launch(content: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(content)

    assert planned(environment={"CLAUDE_CONFIG_DIR": str(tmp_path)}).on_relay


def test_every_file_of_the_plugin_lies_in_the_sessions_folder_and_is_filled_in() -> None:
    files = planned("guarded").files

    plugin = FOLDER / "claude-plugin"
    assert set(files) == {
        plugin / ".claude-plugin/plugin.json",
        plugin / "hooks/hooks.json",
        plugin / ".mcp.json",
    }
    assert not any(re.search("@[a-z]+@", content) for content in files.values())
    server = json.loads(files[plugin / ".mcp.json"])["mcpServers"]["relay"]
    assert server["args"] == ["-I", "-S", "/opt/relay/mcp_pipe.py"]
    assert server["alwaysLoad"] is True
    hooks = json.loads(files[plugin / "hooks/hooks.json"])["hooks"]
    for event, (entry,) in hooks.items():
        (hook,) = entry["hooks"]
        shell = ["/bin/sh", "-c", FAILSAFE] if event == "PreToolUse" else []
        assert [hook["command"], *hook["args"]] == [
            *(*shell, "/opt/relay/bin/python", "-I", "-S", str(HOOK_PROGRAM)),
            *(event, "guarded", str(FOLDER)),
        ]


def test_a_path_with_quotes_and_backslashes_stays_valid_json(tmp_path: Path) -> None:
    files = (
        ClaudeProvider()
        .plan(
            LaunchRequest(
                session_key="0123456789abcdef",
                folder=Path('/tmp/a "b" \\c'),
                cwd=tmp_path,
                approval="open",
                arguments=(),
                binary=Binary(path=Path("/opt/claude"), version="2.1.330"),
                control_socket=Path("/c"),
                python=Path("/py"),
                pipe=Path("/pipe"),
                environment={},
            )
        )
        .files
    )

    hooks = json.loads(files[Path('/tmp/a "b" \\c/claude-plugin/hooks/hooks.json')])["hooks"]
    assert hooks["Stop"][0]["hooks"][0]["args"][-1] == '/tmp/a "b" \\c'
