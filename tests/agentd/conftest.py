"""A relay for all tests of the daemon core, and processes that never outlive a test."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.agentd.harness import Processes
from tests.agentd.host_bench import Bench
from tests.support.host_provider import MARKER
from tests.support.processes import end_all
from tests.support.relay_process import RelayProcess


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A real relay; tests of one module share it, so each uses a folder (and ids) of its own."""
    with RelayProcess(tmp_path_factory.mktemp("relay")) as process:
        yield process


@pytest.fixture
def own_relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """A real relay to kill."""
    folder = tmp_path / "relay"
    folder.mkdir()
    with RelayProcess(folder) as process:
        yield process


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts processes; kills them in the end."""
    started = Processes()
    yield started
    started.end()


@pytest.fixture
def bench(relay: RelayProcess) -> Iterator[Bench]:
    """A fresh machine; no host outlives it. Its folder's name is short: it holds sockets."""
    with TemporaryDirectory(prefix="ar-") as folder:
        made = Bench(relay.url, Path(folder).resolve())
        yield made
        end_all(MARKER, made.mark)
