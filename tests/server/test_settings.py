"""Settings: their sources, and what is said about wrong ones."""

import pytest

from relay_server import settings
from relay_server.errors import BadSettings
from relay_server.settings import from_sources


def test_defaults_are_those_of_the_contract() -> None:
    made = from_sources([{}])

    assert (made.host, made.port, made.token) == ("127.0.0.1", 4850, None)
    assert (made.stale_ttl_ms, made.offline_prune_ms) == (90_000, 604_800_000)
    assert (made.retention_days, made.loop_limit, made.sender_limit) == (30, 40, 120)
    assert made.database.name == "relay.db"


def test_option_beats_environment_beats_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings.env_file()
    file.parent.mkdir(parents=True)
    file.write_text("# ours\nPORT=1\nHOST='localhost'\nRETENTION_DAYS=1\n")
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("HOST", "::1")

    made = settings.load({"PORT": "3", "HOST": None})

    assert (made.port, made.host, made.retention_days) == (3, "::1", 1)


def test_all_problems_are_reported_together_with_name_value_and_what_is_accepted() -> None:
    wrong = {"PORT": "many", "RETENTION_DAYS": "0", "AGENT_RELAY_TOKEN": "sp ace"}

    with pytest.raises(BadSettings) as raised:
        from_sources([wrong])

    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("PORT = 'many': expected")
    assert "sp ace" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.test"])
def test_other_than_loopback_needs_a_token(host: str) -> None:
    with pytest.raises(BadSettings, match="AGENT_RELAY_TOKEN"):
        from_sources([{"HOST": host}])

    assert from_sources([{"HOST": host, "AGENT_RELAY_TOKEN": "t"}]).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_loopback_needs_none(host: str) -> None:
    assert from_sources([{"HOST": host}]).is_loopback


def test_an_unreadable_line_of_the_env_file_is_a_problem() -> None:
    file = settings.env_file()
    file.parent.mkdir(parents=True)
    file.write_text("PORT=1\nwhat is this\n")

    with pytest.raises(BadSettings, match="line 2"):
        settings.load()


def test_the_token_is_masked_when_settings_are_shown() -> None:
    shown = dict(settings.describe(from_sources([{"AGENT_RELAY_TOKEN": "s3cret"}])))

    assert shown["AGENT_RELAY_TOKEN"] == "(set)"


def test_a_name_that_nobody_reads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_RELAY_TOKN", "x")
    monkeypatch.setenv("AGENT_RELAY_URL", "http://localhost:4850")

    assert settings.unknown_names() == ["AGENT_RELAY_TOKN"]
