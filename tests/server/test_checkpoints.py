"""The write-ahead log is folded beside the writer, not by it."""

import threading
from pathlib import Path

import pytest

from relay_server.store.checkpoints import Checkpoints
from relay_server.store.database import Database
from tests.server.running import RunningRelay
from tests.support.wait import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of a test is."""
    return tmp_path / "relay.db"


def _write_much(database: Database) -> None:
    """Well over the thousand pages at which SQLite's own default would fold."""
    with database.write() as transaction:
        transaction.run("CREATE TABLE filler (text TEXT)")
    for _ in range(400):
        with database.write() as transaction:
            transaction.run("INSERT INTO filler VALUES (?)", ["x" * 16_000])


def test_a_commit_does_not_wait_for_the_log_to_be_folded(path: Path) -> None:
    database = Database(path)
    before = path.stat().st_size

    _write_much(database)

    assert path.stat().st_size == before
    database.close()


def test_the_log_is_folded_while_the_database_is_open(path: Path) -> None:
    database = Database(path)
    _write_much(database)
    before = path.stat().st_size
    checkpoints = Checkpoints(database)
    thread = threading.Thread(target=checkpoints.run)
    thread.start()

    eventually(lambda: path.stat().st_size > before)

    checkpoints.close()
    thread.join()
    database.close()


def test_a_running_relay_folds_its_log(relay_server: RunningRelay) -> None:
    path = relay_server.settings.database
    before = path.stat().st_size
    relay_server.agent("a")

    for _ in range(120):
        relay_server.send("operator", "a", "x" * 5000)

    eventually(lambda: path.stat().st_size > before)
