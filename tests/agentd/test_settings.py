"""Settings: precedence, every problem at once, and no token shown."""

import json
from pathlib import Path

import pytest

from relay_agentd.errors import SettingsInvalid
from relay_agentd.settings import Settings, load_settings, parse_env_lines
from relay_server.wire import ApprovalMode


def test_defaults_hold_when_nothing_is_given() -> None:
    settings = load_settings({})

    assert settings == Settings()
    assert settings.url == "http://localhost:4850"
    assert settings.capabilities == ("chat",)
    assert settings.approval is ApprovalMode.OPEN


def test_option_wins_over_environment_over_profile_over_file(tmp_path: Path) -> None:
    env_file = tmp_path / "agentd.env"
    env_file.write_text(
        "AGENT_RELAY_LABEL=filed\nAGENT_RELAY_TAGS=filed\nAGENT_RELAY_CAPS=filed\n"
        "AGENT_RELAY_CHANNELS=filed\n"
    )
    profiles = tmp_path / "profiles.json"
    profile = {"label": "profiled", "tags": ["profiled", "too"], "capabilities": ["profiled"]}
    profiles.write_text(json.dumps({"reviewer": profile}))

    settings = load_settings(
        {
            "AGENT_RELAY_PROFILE": "reviewer",
            "AGENT_RELAY_LABEL": "said",
            "AGENT_RELAY_CAPS": "said",
        },
        options={"label": "chosen", "tags": None},
        env_file=env_file,
        profiles_file=profiles,
    )

    assert settings.label == "chosen"
    assert settings.capabilities == ("said",)
    assert settings.tags == ("profiled", "too")
    assert settings.channels == ("filed",)


def test_all_problems_are_reported_together_and_a_token_is_not_shown() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(
            {
                "AGENT_RELAY_URL": "ftp://x",
                "AGENT_RELAY_TOKEN": "se cret",
                "AGENT_RELAY_APPROVAL": "yolo",
                "AGENT_RELAY_TAGS": "a b",
                "AGENT_RELAY_HEARTBEAT_SECONDS": "soon",
            }
        )

    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert "AGENT_RELAY_APPROVAL" in text
    assert "'yolo'" in text
    assert "open, guarded or read-only" in text
    assert "se cret" not in text
    assert caught.value.exit_status == 2


def test_unknown_profile_and_unknown_profile_key_are_problems(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.json"
    profiles.write_text('{"a": {"lable": "x"}}')

    with pytest.raises(SettingsInvalid, match="unknown key 'lable'"):
        load_settings({}, options={"profile": "a"}, profiles_file=profiles)
    with pytest.raises(SettingsInvalid, match="'b'"):
        load_settings({}, options={"profile": "b"}, profiles_file=profiles)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 3}'])
def test_profiles_file_that_is_none_is_a_problem(tmp_path: Path, text: str) -> None:
    profiles = tmp_path / "profiles.json"
    profiles.write_text(text)

    with pytest.raises(SettingsInvalid, match=r"profiles\.json"):
        load_settings({}, options={"profile": "a"}, profiles_file=profiles)


def test_env_file_lines_may_be_quoted_exported_and_commented() -> None:
    text = "# a comment\n\nexport A=1\nB = 'two words'\nC=\"x=y\"\n"

    assert parse_env_lines(text) == {"A": "1", "B": "two words", "C": "x=y"}


def test_env_file_line_that_is_no_setting_is_named(tmp_path: Path) -> None:
    env_file = tmp_path / "agentd.env"
    env_file.write_text("A=1\nnonsense\n")

    with pytest.raises(SettingsInvalid, match="line 2"):
        load_settings({}, env_file=env_file)


def test_token_does_not_show_in_the_settings_own_text() -> None:
    assert "hidden-word" not in repr(load_settings({"AGENT_RELAY_TOKEN": "hidden-word"}))
