"""Three hosts: a relay, and two machines with a daemon and sessions; the network between them goes.

The cut outlasts the silence after which a daemon gives its stream up.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.relay_client import STREAM_SILENCE_SECONDS
from tests.cli.machine import REPOSITORY
from tests.netns.hosts import PORT, TOKEN, Host, Network, Tools, inside, require_namespaces
from tests.support.wait import eventually

CUT_SECONDS = 60.0
assert CUT_SECONDS > 2 * STREAM_SILENCE_SECONDS
MESSAGES = 5

pytestmark = pytest.mark.timeout(CUT_SECONDS + 120)


@pytest.fixture
def network() -> Iterator[Network]:
    """With the relay's host in it."""
    require_namespaces()
    with Network() as made:
        yield made


@contextmanager
def relay(network: Network, folder: Path) -> Iterator[None]:
    """A relay on its host, as a person starts it for other machines."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(REPOSITORY),
        "HOST": "0.0.0.0",
        "PORT": str(PORT),
        "AGENT_RELAY_DB": str(folder / "relay.db"),
        "AGENT_RELAY_TOKEN": TOKEN,
        "AGENT_RELAY_ALLOWED_HOSTS": network.relay_url.split("/")[2].partition(":")[0],
    }
    argv = [*inside(network.relay_namespace), sys.executable, "-m", "relay_server"]
    with (folder / "relay.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        # It says so when it listens.
        eventually(lambda: "Agent Relay" in (folder / "relay.log").read_text(), 20.0)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


class Side:
    """One machine: its host, the session on it, and the session's tools."""

    def __init__(self, host: Host, session: dict[str, Any], tools: Tools) -> None:
        self.host, self.tools = host, tools
        self.key, self.id = session["key"], session["agentId"]

    def say(self, listener: "Side", text: str) -> str:
        """With the session's own tool; what that answers."""
        return self.tools.call("relay_send", to=listener.id, body=text)

    def heard(self) -> list[str]:
        """What came into the session's context, in order."""
        return re.findall(r"text \w+ \d+", self.host.context(self.key))


def a_side(stack: ExitStack, network: Network, name: str) -> Side:
    """A host with a session that is on the relay."""
    host = stack.enter_context(Host(network.host(name), network.relay_url))
    stack.enter_context(host.terminal("run", "stand-in"))
    session = eventually(
        lambda: next((s for s in host.sessions() if s.get("agentId")), None),
        20.0,
        message=lambda: host.run("doctor").stdout,
    )
    tools = host.tools((session or {})["key"])
    stack.callback(tools.close)
    return Side(host, session or {}, tools)


def test_what_is_said_while_the_network_is_away_arrives_once_and_in_order(
    network: Network, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        stack.enter_context(relay(network, tmp_path))
        one, two = (a_side(stack, network, name) for name in ("one", "two"))
        pairs = ((one, two, "alpha"), (two, one, "beta"))
        for speaker, listener, word in pairs:
            expect_known(speaker, listener)
            speaker.say(listener, f"text {word} 0")
            expect_heard(listener, [f"text {word} 0"])

        network.cut()
        began = time.monotonic()
        for number in range(1, MESSAGES + 1):
            for speaker, listener, word in pairs:
                assert speaker.say(listener, f"text {word} {number}").startswith("Queued")
        time.sleep(max(0.0, CUT_SECONDS - (time.monotonic() - began)))
        assert one.heard() == ["text beta 0"]
        network.heal()

        for _, listener, word in pairs:
            expect_heard(listener, [f"text {word} {number}" for number in range(MESSAGES + 1)])
        one.say(two, "text alpha 9")
        eventually(lambda: two.heard()[-1] == "text alpha 9", 10.0)
        assert len(two.heard()) == MESSAGES + 2


def expect_known(speaker: Side, listener: Side) -> None:
    """The relay lists the one to the other."""
    eventually(lambda: listener.id in speaker.tools.call("relay_agents"), 20.0)


def expect_heard(listener: Side, texts: list[str]) -> None:
    """All of it, once and in order."""
    eventually(
        lambda: len(listener.heard()) >= len(texts),
        30.0,
        message=lambda: f"heard {listener.heard()}",
    )
    assert listener.heard() == texts
