"""Long work in short transactions: others get in, and batches are no longer than they should be."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_server.clock import SystemClock
from relay_server.services.batches import Batches
from relay_server.store.database import Database, Transaction


class WorkingClock(SystemClock):
    """Time passes only by working."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    opened = Database(tmp_path / "relay.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(("seconds_each", "expected"), [(0.0001, 20), (0.0005, 4), (0.02, 1)])
def test_a_batch_comes_to_hold_the_lock_for_a_few_milliseconds(
    database: Database, seconds_each: float, expected: int
) -> None:
    clock = WorkingClock()
    sizes: list[int] = []

    def work(transaction: Transaction, most: int) -> bool:
        sizes.append(most)
        clock.at += most * seconds_each
        return len(sizes) < 40

    Batches(database, clock, threading.Event()).run(work)

    assert expected / 2 <= sizes[-1] <= expected


def test_a_writer_that_waits_gets_in_between(database: Database) -> None:
    order: list[str] = []
    waits = threading.Event()

    def other() -> None:
        waits.set()
        with database.write():
            order.append("other")

    writer = threading.Thread(target=other)

    def work(transaction: Transaction, most: int) -> bool:
        if not order:
            writer.start()
            waits.wait(5)
        order.append("batch")
        return len(order) < 100

    Batches(database, SystemClock(), threading.Event()).run(work)
    writer.join(10)

    assert order.index("other") <= 3


def test_closing_ends_the_work_after_the_batch(database: Database) -> None:
    is_closed = threading.Event()
    done: list[int] = []

    def work(transaction: Transaction, most: int) -> bool:
        done.append(most)
        is_closed.set()
        return True

    Batches(database, SystemClock(), is_closed).run(work)

    assert len(done) == 1
