"""Keeps every test away from the settings and files of the person who runs it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.processes import end_all
from tests.support.providers import MARKER, IsolatedHome
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI

_SERVER_SETTINGS = ("HOST", "PORT", "STALE_TTL_MS", "OFFLINE_PRUNE_MS", "RETENTION_DAYS")
_PROVIDER_SETTINGS = ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")

# Generated tests judge our code, not how busy the machine is. The first text of a fresh checkout
# costs a second by itself: hypothesis then builds its table of Unicode.
settings.register_profile("relay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relay")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings from outside, a home in the test's own folder, and a folder for sockets whose
    path is short enough for them: else they would lie where those of all homes lie."""
    for name in list(os.environ):
        ours = name.startswith("AGENT_RELAY_")
        if ours or name in _SERVER_SETTINGS or name in _PROVIDER_SETTINGS:
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local" / "share"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local" / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    runtime = tempfile.mkdtemp(prefix="ar-run-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    yield
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def openai() -> Iterator[StandInOpenAI]:
    """A stand-in for Codex's model."""
    with StandInOpenAI() as stand_in:
        yield stand_in


@pytest.fixture
def anthropic() -> Iterator[StandInAnthropic]:
    """A stand-in for Claude Code's model."""
    with StandInAnthropic() as stand_in:
        yield stand_in


@pytest.fixture
def home(openai: StandInOpenAI, anthropic: StandInAnthropic) -> Iterator[IsolatedHome]:
    """A home whose providers talk to the two stand-ins; whatever still runs in it is ended."""
    with IsolatedHome(openai, anthropic) as isolated:
        yield isolated
        end_all(MARKER, str(isolated.path))
