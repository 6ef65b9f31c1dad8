"""A relay for each test, and makers of relays with other settings."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.callback_bench import Bench
from tests.server.running import RunningRelay
from tests.support.relay_process import RelayProcess
from tests.support.webhook_receiver import WebhookReceiver

StartRelay = Callable[..., RunningRelay]


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[StartRelay]:
    """Start a relay in this process with the given environment; stopped after the test."""
    started: list[RunningRelay] = []

    def start(folder: Path = tmp_path, **environment: str) -> RunningRelay:
        relay = RunningRelay(folder, **environment)
        started.append(relay)
        return relay

    yield start
    for relay in started:
        relay.stop()


@pytest.fixture
def relay_server(start_relay: StartRelay) -> RunningRelay:
    """A relay with default settings, except that nobody is limited."""
    return start_relay(AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0")


@pytest.fixture
def relay_process(tmp_path: Path) -> Iterator[RelayProcess]:
    """A relay in a process of its own, not yet started."""
    process = RelayProcess(tmp_path, AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0")
    yield process
    process.kill()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """Takes every callback."""
    with WebhookReceiver() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path, receiver: WebhookReceiver) -> Iterator[Bench]:
    """A running deliverer; integration `ci` calls the receiver; tasks 1 to 3."""
    made = Bench(tmp_path)
    made.integration("ci", receiver.url)
    for task_id in (1, 2, 3):
        made.task(task_id)
    yield made.start()
    made.stop()
