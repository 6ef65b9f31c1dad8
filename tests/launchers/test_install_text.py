"""Taking what is ours out of a person's files: exactly that, and nothing else."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_launchers.codex.config_text import ConfigTables
from relay_launchers.codex.install import CodexInstaller, trusted_hash
from relay_launchers.install import InstallRefused, InstallRequest
from relay_launchers.json_text import JsonMembers, without_member

NAMES = st.text('abcR"\\é{}, :', min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('x"{},:\\ \n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
LAYOUTS = st.sampled_from([None, 0, 1, 2, 4, "\t"])

MEMBERS = JsonMembers((("plugins", "ours"), ("known", "ours")))
CONFIG = Path("/home/me/.codex/config.toml")


def tables(version: str = "1") -> ConfigTables:
    """What `install codex` puts into the file, of some version."""
    request = InstallRequest(
        home=CONFIG.parent,
        data=Path("/data"),
        binary=None,
        environment={},
        python=Path(f"/opt/{version}/python"),
        pipe=Path("/opt/pipe.py"),
        control_socket=Path("/run/control-01234567.sock"),
        config=Path("/etc/agentd.env"),
    )
    change = CodexInstaller().plan(request).changes[CONFIG]
    assert isinstance(change, ConfigTables)
    return change


@given(OBJECTS, LAYOUTS, VALUES, st.integers(0, 4))
def test_a_member_is_cut_out_and_the_rest_stays_as_it_was(
    document: dict[str, Any], layout: Any, value: Any, place: int
) -> None:
    entries = [item for item in document.items() if item[0] != "ours"]
    with_it = dict([*entries[:place], ("ours", value), *entries[place:]])

    rest = without_member(json.dumps(with_it, indent=layout), ["ours"])

    assert json.loads(rest) == dict(entries)
    assert list(json.loads(rest)) == [name for name, _ in entries]
    if entries:
        assert rest == json.dumps(dict(entries), indent=layout)


@given(OBJECTS, OBJECTS, LAYOUTS)
def test_objects_that_came_with_ours_go_with_it_and_others_stay(
    plugins: dict[str, Any], known: dict[str, Any], layout: Any
) -> None:
    before = {"a": 1, **({"plugins": plugins} if plugins else {})}
    after = {
        **before,
        "plugins": {**plugins, "ours": True},
        "known": {**known, "ours": {"source": "x"}},
    }

    rest = MEMBERS.take_out(json.dumps(after, indent=layout), json.dumps(before))

    assert json.loads(rest) == {**before, **({"known": known} if known else {})}


def test_a_file_without_ours_is_not_touched() -> None:
    text = '{\t"a" : {"ours": 1} }\n'

    assert MEMBERS.take_out(text, None) == text
    assert not MEMBERS.is_in(text)


def test_a_file_that_is_no_json_is_refused_with_a_way_out() -> None:
    with pytest.raises(InstallRefused, match="mend it first"):
        MEMBERS.take_out("{,}", None)


TOML_LINES = st.lists(
    st.sampled_from(
        [
            'model = "x"', "# a remark", "", "\t", "[tui]", "[mcp_servers.other]", "x.y = 1",
            'command = "c"', '[projects."/a [b]"]', "[[hooks.Stop]]", 'hooks = [{ command = "s" }]',
            "[[hooks.SessionStart]]", '[hooks.state."k:stop:0:0"]', 'trusted_hash = "sha256:0"',
        ]
    ),
    max_size=14,
)  # fmt: skip


def is_config(text: str) -> bool:
    """Whether Codex could read it."""
    try:
        return isinstance(tomllib.loads(text).get("hooks", {}), dict)
    except tomllib.TOMLDecodeError:
        return False


@given(TOML_LINES, st.booleans())
def test_what_is_put_into_a_config_comes_out_byte_for_byte(lines: list[str], ends: bool) -> None:
    text = "\n".join(lines) + ("\n" if ends and lines else "")
    if not is_config(text):
        return
    ours = tables()

    with_ours = ours.put_in(text)

    assert ours.is_in(with_ours)
    assert not ours.is_in(text)
    assert ours.put_in(with_ours) == with_ours
    assert ours.take_out(with_ours, text) in (text, f"{text}\n")
    if not text or text.endswith("\n"):
        assert ours.take_out(with_ours, text) == text


@given(TOML_LINES, st.data())
def test_what_codex_or_a_person_adds_between_our_tables_stays(
    lines: list[str], data: st.DataObject
) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if not is_config(text):
        return
    ours = tables()
    parts = ours.put_in(text).split("\n\n[")
    place = data.draw(st.integers(1, len(parts)))
    added = ["added_by_somebody]\nx = 1 # mine\n# theirs"]
    edited = "\n\n[".join([*parts[:place], *added, *parts[place:]])
    if not is_config(edited):
        return

    rest = ours.take_out(edited, text)

    assert tomllib.loads(rest) == {**tomllib.loads(text), "added_by_somebody": {"x": 1}}
    assert "# theirs" in rest


def test_another_version_replaces_the_one_before() -> None:
    old, new = tables("1"), tables("2")
    text = 'model = "x"\n'

    updated = new.put_in(old.put_in(text))

    assert updated == new.put_in(text)
    assert not old.is_in(updated)
    assert old.take_out(updated, text) == text


def test_a_hook_behind_a_persons_own_is_trusted_under_its_own_place() -> None:
    text = '[[hooks.SessionStart]]\nhooks = [{ type = "command", command = "mine" }]\n'

    config = tomllib.loads(tables().put_in(text))

    assert len(config["hooks"]["SessionStart"]) == 2
    assert f"{CONFIG}:session_start:1:0" in config["hooks"]["state"]
    assert f"{CONFIG}:pre_tool_use:0:0" in config["hooks"]["state"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[mcp_servers.relay]\ncommand = "mine"\n', "rename"),
        ("mcp_servers = { a = { command = 'x' } }\n", "as tables"),
        ("[hooks]\nSessionStart = [{ hooks = [] }]\n", "as tables"),
        ("a = ", "mend it first"),
    ],
)
def test_a_config_that_cannot_take_ours_is_refused_with_a_way_out(text: str, hint: str) -> None:
    with pytest.raises(InstallRefused, match=hint):
        tables().put_in(text)


def test_a_hash_is_the_one_that_codex_computes() -> None:
    # Recorded from `hooks/list` of codex 0.169.0.
    command = "/var/tmp/ar-qecz_lsk/hook.sh PreToolUse"
    recorded = "5cd88aed285360be085773f87ec73ad202d1f3f1134e71f55c206ebb087c55af"

    assert trusted_hash("pre_tool_use", command, 10) == f"sha256:{recorded}"
