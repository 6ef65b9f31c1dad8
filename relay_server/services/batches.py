"""Long work on the database in short transactions, so that nobody who writes waits for it.

The writer lock is not fair: whoever lets it go and takes it again at once has it. So there is a
pause after each batch as long as the batch was, and all who wait get in.
"""

import threading
from collections.abc import Callable
from typing import Final

from relay_server.clock import Clock
from relay_server.store.database import Database, Transaction

# A batch should hold the lock this long: others hardly notice, and a commit is worth it.
_HOLD_SECONDS: Final = 0.002
_SHORTEST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1
_FIRST: Final = 20
_LARGEST: Final = 1000

# How many to do at most -> whether there is more to do.
Step = Callable[[Transaction, int], bool]


class Batches:
    """For one kind of work, and one thread at a time: it learns how many fit into a batch."""

    def __init__(self, database: Database, clock: Clock, is_closed: threading.Event) -> None:
        self._database = database
        self._clock = clock
        self._is_closed = is_closed
        self._size = _FIRST

    def run(self, step: Step) -> None:
        """One batch after the other until nothing is left or all is closed."""
        while True:
            with self._database.write() as transaction:
                started = self._clock.monotonic()
                has_more = step(transaction, self._size)
            took = self._clock.monotonic() - started
            self._learn(took)
            pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, took))
            if not has_more or self._is_closed.wait(pause):
                return

    def _learn(self, took: float) -> None:
        """Halve at once, grow slowly: a batch that is too long is felt, a short one is not."""
        if took > _HOLD_SECONDS:
            self._size = max(1, int(self._size * max(0.5, _HOLD_SECONDS / took)))
        elif took < _HOLD_SECONDS / 2:
            self._size = min(_LARGEST, self._size + max(1, self._size // 4))
