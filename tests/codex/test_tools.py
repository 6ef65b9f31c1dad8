"""What is taken back of a person's own Codex configuration in guarded and read-only sessions."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from relay_launchers.base import ApprovalMode, ArgumentsRefused
from relay_launchers.codex.policy import POLICY_FILE, SessionPolicy
from tests.codex.test_plan import FOLDER, plan


def listing(**servers: str) -> str:
    """As `codex mcp list --json` prints it."""
    return json.dumps(
        [{"name": name, "transport": {"type": kind}} for name, kind in servers.items()]
    )


def gates(approval: ApprovalMode, **environment: str) -> dict[str, Any]:
    """What the app-server is told about other MCP servers."""
    made = plan((), approval, environment=environment)
    assert made.helper is not None
    told = [word for word in made.helper.argv if word.startswith("mcp_servers={")]
    return dict(tomllib.loads(told[0])["mcp_servers"]) if told else {}


LISTED = {
    "STANDIN_SERVERS": listing(files="stdio", web="streamable_http", plugged="stdio"),
    "STANDIN_CONFIGURED": listing(files="stdio", web="streamable_http"),
}


def test_read_only_turns_every_other_server_off() -> None:
    assert gates("read-only", **LISTED) == {
        "files": {"enabled": False, "command": "off"},
        "web": {"enabled": False, "url": "off"},
        "plugged": {"enabled": False, "command": "off"},
    }


def test_guarded_lets_them_ask_before_each_tool_and_turns_a_plugins_off() -> None:
    asking = {"default_tools_approval_mode": "prompt", "tools": {}}

    assert gates("guarded", **LISTED) == {
        "files": asking,
        "web": asking,
        "plugged": {"enabled": False, "command": "off"},
    }


def test_open_leaves_them_alone() -> None:
    assert gates("open", **LISTED) == {}


def test_a_tool_that_was_allowed_for_ever_asks_again(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[mcp_servers.files.tools.write]\napproval_mode = "approve"\n'
    )
    (tmp_path / "work.config.toml").write_text(
        '[mcp_servers.files.tools."odd name"]\napproval_mode = "approve"\n'
    )
    (tmp_path / "broken.config.toml").write_text("[[[")

    tools = gates("guarded", CODEX_HOME=str(tmp_path), **LISTED)["files"]["tools"]

    assert tools == {
        "odd name": {"approval_mode": "prompt"},
        "write": {"approval_mode": "prompt"},
    }


def test_the_relays_own_tools_are_never_gated() -> None:
    assert gates("read-only", STANDIN_SERVERS=listing(relay="stdio")) == {}


@pytest.mark.parametrize("said", ["", "no json", "[{}]", "{}x"])
def test_a_codex_that_cannot_say_what_it_would_start_is_not_started(said: str) -> None:
    with pytest.raises(ArgumentsRefused, match="--approval open"):
        gates("guarded", STANDIN_SERVERS=said or "\n")


@pytest.mark.parametrize(
    ("rules", "is_allowing"),
    [
        ('prefix_rule(pattern = ["touch"], decision = "allow")', True),
        ('prefix_rule(pattern = ["touch"])', True),
        ('prefix_rule(pattern = ["rm"], decision = "forbidden")', False),
        ('prefix_rule(pattern = ["git", "push"],\n    decision="prompt")', False),
        ('prefix_rule(pattern = ["a"], decision="prompt")\nprefix_rule(pattern = ["b"])', True),
        ('prefix_rule(pattern = ["a"]) # not decision="prompt"', True),
        ('# prefix_rule(pattern = ["a"])', False),
        ("", False),
    ],
)
@pytest.mark.parametrize("place", ["home", "project"])
def test_rules_that_allow_commands_are_noticed(
    tmp_path: Path, rules: str, is_allowing: bool, place: str
) -> None:
    home, project = tmp_path / "home", tmp_path / "project" / "below"
    project.mkdir(parents=True)
    folder = home / "rules" if place == "home" else project.parent / ".codex" / "rules"
    folder.mkdir(parents=True)
    (folder / "default.rules").write_text(rules)

    made = plan((), "guarded", cwd=project, environment={"CODEX_HOME": str(home)})

    policy = SessionPolicy.from_text(made.files[FOLDER / POLICY_FILE])
    assert policy.has_rules is is_allowing
