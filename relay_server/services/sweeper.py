"""The periodic work, in order: silent agents, silent machines, expired leases, pruning, retention.

One thread; all of it in small batches, each told of after its commit. Each pass takes the time as
an argument; missed passes are not made up for.
"""

import logging
import threading
from typing import Final

from relay_server.services.batches import Batches, Step
from relay_server.services.core import Core
from relay_server.services.presence import Presence
from relay_server.services.sending import KEY_LIFE_MS
from relay_server.store import agents, answers, machines, messages, retention
from relay_server.store.database import Transaction

_log = logging.getLogger(__name__)

_DAY_MS: Final = 24 * 3600 * 1000
# Often enough that a short TTL is kept, seldom enough to cost nothing.
_SLOWEST_SECONDS: Final = 5.0
_FASTEST_SECONDS: Final = 0.1


class Sweeper:
    """`run` is its thread; `sweep` one pass."""

    def __init__(self, core: Core, presence: Presence) -> None:
        self._core = core
        self._presence = presence
        self._is_closed = threading.Event()
        shortest = min(core.settings.stale_ttl_ms, core.settings.offline_prune_ms)
        self._pause = min(_SLOWEST_SECONDS, max(_FASTEST_SECONDS, shortest / 4000))
        self._batches = Batches(core.database, core.clock, self._is_closed)
        self._retention_at = 0
        # Up to this message there is only what retention keeps.
        self._kept_until = 0

    def run(self) -> None:
        """Sweep until closed."""
        while not self._is_closed.wait(self._pause):
            try:
                self.sweep(self._core.clock.now_ms())
            except Exception:  # noqa: BLE001 - a thread's main loop: log, go on
                _log.exception("a sweep failed")

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()

    def sweep(self, now: int) -> None:
        """One pass."""
        self._silent(now)
        self._leases(now)
        self._prune(now)
        # Retention counts in days: once a minute is plenty.
        if now >= self._retention_at:
            self._retention_at = now + 60_000
            self._retention(now)

    # Each looks first without the lock, and again under it: one may have spoken meanwhile.

    def _silent(self, now: int) -> None:
        before = now - self._core.settings.stale_ttl_ms

        def agents_silent(transaction: Transaction, most: int) -> bool:
            silent = agents.silent_since(transaction, before, most)
            for agent in silent:
                self._presence.went_silent(transaction, agent, now)
            return len(silent) == most

        with self._core.database.read() as reader:
            has_silent = bool(agents.silent_since(reader, before, 1))
            machines_silent = machines.silent_since(reader, before)
        if has_silent:
            self._batches.run(agents_silent)
        if machines_silent:
            with self._core.database.write() as transaction:
                for machine in machines.silent_since(transaction, before):
                    self._presence.machine_silent(transaction, machine)

    def _leases(self, now: int) -> None:
        def release(transaction: Transaction, most: int) -> bool:
            expired = messages.expired_leases(transaction, now, most)
            for message_id in expired:
                self._presence.release(transaction, message_id, now)
            return len(expired) == most

        with self._core.database.read() as reader:
            has_expired = bool(messages.expired_leases(reader, now, 1))
        if has_expired:
            self._batches.run(release)

    def _prune(self, now: int) -> None:
        before = now - self._core.settings.offline_prune_ms

        def remove(transaction: Transaction, most: int) -> bool:
            gone = agents.offline_since(transaction, before, most)
            for agent in gone:
                self._presence.remove(transaction, agent)
            return len(gone) == most

        with self._core.database.read() as reader:
            has_gone = bool(agents.offline_since(reader, before, 1))
        if has_gone:
            self._batches.run(remove)

    def _retention(self, now: int) -> None:
        oldest = now - self._core.settings.retention_days * _DAY_MS
        with self._core.database.read() as reader:
            first = messages.first_id_since(reader, oldest)

        def old_messages(transaction: Transaction, most: int) -> bool:
            self._kept_until, has_more = retention.remove_messages(
                transaction, self._kept_until, first, now, most
            )
            return has_more

        steps: tuple[Step, ...] = (
            lambda transaction, most: retention.remove_completed(
                transaction, min(first, self._kept_until), most
            ),
            lambda transaction, most: retention.remove_tasks(transaction, oldest, most),
            lambda transaction, most: answers.remove_older(transaction, now - KEY_LIFE_MS, most),
        )
        if self._kept_until < first - 1:
            self._batches.run(old_messages)
        for step in steps:
            self._batches.run(step)
