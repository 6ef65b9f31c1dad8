"""A relay for each test, and makers of relays with other settings."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relay_server.clock import Clock
from tests.server.callback_bench import Bench
from tests.server.fuzzing import World
from tests.server.running import LaterClock, RunningRelay
from tests.support.relay_process import RelayProcess
from tests.support.webhook_receiver import WebhookReceiver

StartRelay = Callable[..., RunningRelay]
Background = Callable[..., "Future[Any]"]


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[StartRelay]:
    """Start a relay in this process with the given environment; stopped after the test."""
    started: list[RunningRelay] = []

    def start(
        folder: Path = tmp_path,
        clock: Clock | None = None,
        edge_clock: Clock | None = None,
        **environment: str,
    ) -> RunningRelay:
        relay = RunningRelay(folder, clock, edge_clock, **environment)
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
def clock() -> LaterClock:
    """The clock of `patient_relay`."""
    return LaterClock()


@pytest.fixture
def patient_relay(start_relay: StartRelay, clock: LaterClock) -> RunningRelay:
    """A relay whose clock can be set forward; nobody is silent for long there."""
    return start_relay(clock=clock, STALE_TTL_MS="86400000")


@pytest.fixture
def background() -> Iterator[Background]:
    """Run a call in a thread of its own; none outlives the test."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A relay that a module shares, on which each test makes what it needs."""
    made = World.started(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


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
