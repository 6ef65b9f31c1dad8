"""The same conversation is the same agent, and its id says what it is."""

import hashlib
import socket

import pytest

from tests.e2e.stack import Stack
from tests.support.providers import CliName
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]


def _mark(provider_session_id: str) -> str:
    return hashlib.sha256(provider_session_id.encode()).hexdigest()[:8]


@pytest.mark.parametrize("name", ["codex", "claude-2.1.197", "claude-2.1.330"])
def test_a_resumed_session_is_the_same_agent(stack: Stack, name: CliName) -> None:
    first = stack.session(name)
    first.terminal.submit("remember this [[say: I will]]")
    first.terminal.wait_for_text("^. I will")
    session_id = str(first.agent["sessionId"])
    first.terminal.submit("/quit" if name == "codex" else "/exit")
    assert first.terminal.exit_status() == 0
    eventually(lambda: stack.agent(first.id)["status"] == "offline")

    again = stack.session(name, *(["resume"] if name == "codex" else ["--resume"]), session_id)

    rig = name.partition("-")[0]
    host = socket.gethostname().partition(".")[0].lower()
    assert first.id == f"{host}-{rig}-project-{_mark(session_id)}"
    assert again.id == first.id
