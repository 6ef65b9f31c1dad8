"""The first command of the README, on a copy of the repository, by someone who has nothing yet."""

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import ROOT, free_url
from tests.meta.repository import tracked
from tests.support.processes import expect_none
from tests.support.providers import MARKER, IsolatedHome
from tests.support.wheels import dependency_wheels

pytestmark = pytest.mark.timeout(300)


class Newcomer:
    """A copy of the repository, and a person who types into a shell in it."""

    def __init__(self, home: IsolatedHome, checkout: Path) -> None:
        self.url = free_url()
        self._checkout = checkout
        self._environment = home.environment(
            AGENT_RELAY_URL=self.url, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(dependency_wheels())
        )

    def types(self, *words: str) -> str:
        """What a command prints; fails with it when the command does."""
        done = subprocess.run(
            words,
            cwd=self._checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def newcomer(home: IsolatedHome) -> Newcomer:
    """Someone who has just cloned the repository; relay and daemon end with the test."""
    checkout = home.path / "checkout"
    for file in tracked():
        target = checkout / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return Newcomer(home, checkout)


def test_up_installs_starts_and_says_what_to_type_next(
    newcomer: Newcomer, home: IsolatedHome
) -> None:
    said = newcomer.types("./scripts/up")

    assert newcomer.url in said.replace("localhost", "127.0.0.1")
    assert "relay-agentd run" in said
    assert "relay-agentd demo" in said
    page = httpx.get(newcomer.url, trust_env=False)
    assert page.status_code == httpx.codes.OK
    assert page.headers["content-type"].startswith("text/html")

    demo = newcomer.types(".venv/bin/relay-agentd", "demo", "--pause", "0")
    assert demo.strip()
    messages = httpx.get(f"{newcomer.url}/api/messages", trust_env=False).json()["messages"]
    assert len(messages) > 1

    newcomer.types("./scripts/up", "--stop")
    expect_none(MARKER, str(home.path))


def test_up_twice_is_harmless(newcomer: Newcomer, home: IsolatedHome) -> None:
    newcomer.types("./scripts/up")
    relay = httpx.get(f"{newcomer.url}/api/stats", trust_env=False).json()["startedAt"]

    newcomer.types("./scripts/up")

    assert httpx.get(f"{newcomer.url}/api/stats", trust_env=False).json()["startedAt"] == relay
    newcomer.types("./scripts/up", "--stop")
    expect_none(MARKER, str(home.path))
