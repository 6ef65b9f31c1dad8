"""The two commands of a Codex session, for everything a person may write after `--`."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay_launchers.base import ApprovalMode, Binary, LaunchPlan, LaunchRequest
from relay_launchers.codex.plan import CodexProvider
from relay_launchers.codex.policy import POLICY_FILE, SessionPolicy

# Answers `mcp list`, and nothing else.
CODEX = str(Path(__file__).with_name("listing_codex.sh"))
PROJECT = Path(__file__).parent
THREAD = "01a2042b-1a98-7d33-9ff3-7e4832b63343"
FOLDER = Path("/run/agent-relay/s1")
ADDRESS = "unix:///run/agent-relay/s1/as.sock"
RELAY_TOOLS = [
    "-c",
    'mcp_servers.relay.command="/venv/bin/python"',
    "-c",
    'mcp_servers.relay.args=["-I", "-S", "/venv/lib/mcp_pipe.py"]',
    "-c",
    (
        'mcp_servers.relay.env={AGENT_RELAY_SESSION = "0123456789abcdef",'
        ' AGENT_RELAY_CONTROL = "/run/agent-relay/control.sock"}'
    ),
    "-c",
    'mcp_servers.relay.default_tools_approval_mode="approve"',
]


def profile(approval: ApprovalMode) -> list[str]:
    default = ":workspace" if approval == "open" else "agent-relay"
    return [
        "-c",
        f'permissions.agent-relay.filesystem={{":root" = "read", "{FOLDER}" = "deny"}}',
        "-c",
        f'default_permissions="{default}"',
    ]


UNASKABLE = [
    "-c",
    'web_search="disabled"',
    "-c",
    "features.apps=false",
    "-c",
    "features.image_generation=false",
]
BY_THE_PERSON = ["-c", 'approvals_reviewer="user"']


def plan(
    arguments: Sequence[str] = (),
    approval: ApprovalMode = "open",
    cwd: Path = PROJECT,
    environment: Mapping[str, str] | None = None,
) -> LaunchPlan:
    return CodexProvider().plan(
        LaunchRequest(
            session_key="0123456789abcdef",
            folder=FOLDER,
            cwd=cwd,
            approval=approval,
            arguments=arguments,
            binary=Binary(path=Path(CODEX), version="0.169.0"),
            control_socket=Path("/run/agent-relay/control.sock"),
            python=Path("/venv/bin/python"),
            pipe=Path("/venv/lib/mcp_pipe.py"),
            environment={
                "PATH": "/bin",
                "AGENT_RELAY_TOKEN": "secret",
                "TMPDIR": "/tmp/mine",
                **(environment or {}),
            },
        )
    )


def terminal(made: LaunchPlan) -> list[str]:
    """What follows the address on the terminal's command line."""
    assert made.provider.argv[:3] == (CODEX, "--remote", ADDRESS)
    return list(made.provider.argv[3:])


def server(made: LaunchPlan, approval: ApprovalMode = "open") -> list[str]:
    """What follows the relay's tools and the profile on the app-server's command line."""
    assert made.helper is not None
    start = [CODEX, "app-server", "--listen", ADDRESS, *RELAY_TOOLS, *profile(approval)]
    assert list(made.helper.argv[: len(start)]) == start
    return list(made.helper.argv[len(start) :])


def test_a_session_is_an_app_server_and_a_terminal_in_the_same_folder() -> None:
    made = plan()

    assert made.helper is not None
    assert made.helper_socket == FOLDER / "as.sock"
    assert made.helper.cwd == made.provider.cwd == PROJECT
    assert made.on_relay
    assert list(made.files) == [FOLDER / POLICY_FILE]
    assert server(made) == []


def test_the_environment_is_the_persons_own_with_our_marks_and_without_the_token() -> None:
    made = plan()

    assert made.helper is not None
    assert made.helper.environment == made.provider.environment
    assert made.provider.environment == {
        "PATH": "/bin",
        "TMPDIR": "/tmp/mine",
        "AGENT_RELAY_SESSION": "0123456789abcdef",
        "AGENT_RELAY_CONTROL": "/run/agent-relay/control.sock",
        "AGENT_RELAY_SESSION_DIR": str(FOLDER),
    }


@pytest.mark.parametrize(
    ("approval", "flags", "server_flags"),
    [
        ("open", ["-a", "never", "-s", "workspace-write"], []),
        (
            "guarded",
            [*BY_THE_PERSON, "-a", "on-request", "-s", "read-only"],
            [*UNASKABLE, *BY_THE_PERSON],
        ),
        ("read-only", ["-a", "never", "-s", "read-only"], UNASKABLE),
    ],
)
def test_each_mode_has_its_flags(
    approval: ApprovalMode, flags: list[str], server_flags: list[str]
) -> None:
    made = plan(["fix it"], approval)

    assert terminal(made) == [*flags, "fix it"]
    assert server(made, approval) == server_flags
    assert made.approval_overrides == ()


@pytest.mark.parametrize(
    ("written", "remaining"),
    [
        (["-a", "on-request"], ["-s", "workspace-write"]),
        (["-aon-request"], ["-s", "workspace-write"]),
        (["-a=on-request"], ["-s", "workspace-write"]),
        (["--ask-for-approval", "on-request"], ["-s", "workspace-write"]),
        (["--ask-for-approval=on-request"], ["-s", "workspace-write"]),
        (["-s", "read-only"], ["-a", "never"]),
        (["-sread-only"], ["-a", "never"]),
        (["--sandbox", "read-only"], ["-a", "never"]),
        (["--sandbox=read-only"], ["-a", "never"]),
        (["--yolo"], []),
        (["--dangerously-bypass-approvals-and-sandbox"], []),
        (["--full-auto"], []),
        (["--approve-for-me"], []),
    ],
)
def test_own_flags_win_in_every_spelling_and_are_reported(
    written: list[str], remaining: list[str]
) -> None:
    made = plan(written)

    assert terminal(made) == [*remaining, *written]
    assert made.approval_overrides == (" ".join(written),)


@pytest.mark.parametrize(
    ("setting", "remaining"),
    [
        ('approval_policy="on-request"', ["-s", "workspace-write"]),
        ("sandbox_mode=read-only", ["-a", "never"]),
        ("sandbox_workspace_write.network_access=true", ["-a", "never", "-s", "workspace-write"]),
    ],
)
def test_own_settings_win_and_reach_both_commands(setting: str, remaining: list[str]) -> None:
    made = plan(["-c", setting])

    assert terminal(made) == [*remaining, "-c", setting]
    assert server(made) == ["-c", setting]
    assert made.approval_overrides == (f"-c {setting}",)


def test_a_setting_about_something_else_is_no_override() -> None:
    made = plan(["--config=model=o3", "--enable", "goals", "--search", "-p", "work"])

    assert made.approval_overrides == ()
    assert server(made) == ["--config=model=o3", "--enable", "goals"]
    assert terminal(made)[4:] == [
        "--config=model=o3",
        "--enable",
        "goals",
        "--search",
        "-p",
        "work",
    ]


def test_words_that_codex_refuses_with_remote_are_carried_out_another_way() -> None:
    made = plan(["--add-dir", "../lib", "--no-daemon", "--add-dir=/srv/data"])

    assert terminal(made) == ["-a", "never", "-s", "workspace-write"]
    folders = f'["{PROJECT}/../lib", "/srv/data"]'
    assert server(made) == ["-c", f"sandbox_workspace_write.writable_roots={folders}"]


@pytest.mark.parametrize("subcommand", ["resume", "fork"])
def test_a_resumed_session_gets_its_policy_from_a_file(subcommand: str) -> None:
    made = plan([subcommand, THREAD, "go on"], "guarded")

    assert terminal(made) == [subcommand, THREAD, "go on"]
    policy = ["-c", 'approval_policy="on-request"', "-c", 'sandbox_mode="read-only"']
    assert server(made, "guarded") == [*UNASKABLE, *BY_THE_PERSON, *policy]
    assert SessionPolicy.from_text(made.files[FOLDER / POLICY_FILE]) == SessionPolicy(
        mode="guarded",
        approval="on-request",
        sandbox="read-only",
        reviewer="user",
        is_resumed=True,
    )


def test_a_resumed_session_is_known_by_its_id_and_a_fork_is_another() -> None:
    assert plan(["resume", THREAD.upper()]).provider_session_id == THREAD
    assert plan(["resume", "--last"]).provider_session_id is None
    assert plan(["resume", "by-its-name"]).provider_session_id is None
    assert plan(["fork", THREAD]).provider_session_id is None


def resumed(approval: str, sandbox: str, **more: Any) -> SessionPolicy:
    return SessionPolicy(
        mode="read-only", approval=approval, sandbox=sandbox, is_resumed=True, **more
    )


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        (["-s", "workspace-write"], resumed("never", "workspace-write", is_own=True)),
        (["--yolo"], resumed("never", "danger-full-access", is_own=True)),
        (
            ["--approve-for-me"],
            resumed("on-request", "workspace-write", is_own=True, reviewer="auto_review"),
        ),
        (["-c", 'approval_policy="on-request"'], resumed("on-request", "read-only")),
    ],
)
def test_own_flags_of_a_resumed_session_go_into_its_policy(
    written: list[str], policy: SessionPolicy
) -> None:
    made = plan([*written, "resume", "--last"], "read-only")

    assert terminal(made) == ["resume", "--last"]
    assert SessionPolicy.from_text(made.files[FOLDER / POLICY_FILE]) == policy
    assert made.approval_overrides == (" ".join(written),)


def test_a_value_codex_does_not_know_is_left_for_codex_to_refuse() -> None:
    made = plan(["resume", "--last", "-s", "everything"], "read-only")

    assert terminal(made) == ["resume", "--last", "-s", "everything"]
    policy = SessionPolicy.from_text(made.files[FOLDER / POLICY_FILE])
    assert policy == resumed("never", "read-only", is_own=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["exec", "do it"],
        ["login"],
        ["-c", "model=o3", "mcp", "list"],
        ["--help"],
        ["resume", "-h"],
        ["--version"],
        ["-V"],
        ["--remote", "ws://127.0.0.1:1"],
        ["--remote=unix://"],
        ["app-server"],
    ],
)
def test_what_is_no_session_runs_untouched(arguments: list[str]) -> None:
    made = plan(arguments, "read-only")

    assert not made.on_relay
    assert made.helper is None
    assert made.provider.argv == (CODEX, *arguments)
    assert made.provider.environment["AGENT_RELAY_TOKEN"] == "secret"


@pytest.mark.parametrize(
    "arguments",
    [
        ["please login for me"],
        ["--", "login"],
        ["-m", "exec"],
        ["--image", "a.png", "exec"],
        ["-C", "exec", "do it"],
        ["fix", "exec"],
    ],
)
def test_a_value_or_a_prompt_is_no_subcommand(arguments: list[str]) -> None:
    made = plan(arguments)

    assert made.on_relay
    assert terminal(made)[4:] == arguments


def test_every_setting_of_ours_is_valid_toml() -> None:
    made = plan(["resume", "--last", "--add-dir", 'a "quoted" \\ \x7f folder\n'], "read-only")

    assert made.helper is not None
    settings = [word for word in made.helper.argv if "=" in word]
    parsed = tomllib.loads("\n".join(settings))
    assert parsed["mcp_servers"]["relay"]["env"]["AGENT_RELAY_SESSION"] == "0123456789abcdef"
    folder = parsed["sandbox_workspace_write"]["writable_roots"][0]
    assert folder == f'{PROJECT}/a "quoted" \\ \x7f folder\n'
