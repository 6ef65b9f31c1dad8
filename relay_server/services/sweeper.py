"""The periodic work, in order: silent agents and machines, expired leases, what nobody answered,
pruning, retention.

One thread; all of it in small batches, each told of after its commit. Each pass takes the time as
an argument; missed passes are not made up for.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from relay_server.domain.command import PATIENCE_MS
from relay_server.services.access import Access
from relay_server.services.approvals import ApprovalService
from relay_server.services.batches import Batches
from relay_server.services.commands import CommandService
from relay_server.services.core import Core
from relay_server.services.leases import Leases
from relay_server.services.presence import Presence
from relay_server.services.sending import KEY_LIFE_MS
from relay_server.store import (
    agents,
    answers,
    approvals,
    commands,
    machines,
    messages,
    retention,
)
from relay_server.store.database import Transaction

_log = logging.getLogger(__name__)

_DAY_MS: Final = 24 * 3600 * 1000
# Output that somebody looked at: large, of use for a moment only, and nobody else's business.
_LOGS_MS: Final = 3600 * 1000
# Often enough that a short TTL is kept, seldom enough to cost nothing.
_SLOWEST_SECONDS: Final = 5.0
_FASTEST_SECONDS: Final = 0.1


class Sweeper:
    """`run` is its thread; `sweep` one pass."""

    def __init__(
        self,
        core: Core,
        presence: Presence,
        leases: Leases,
        access: Access,
        *,
        approvals: ApprovalService,
        commands: CommandService,
    ) -> None:
        self._core = core
        self._presence = presence
        self._leases = leases
        self._access = access
        self._approvals = approvals
        self._commands = commands
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
        self._expired(now)
        self._unanswered(now)
        self._prune(now)
        self._access.write_uses(now)
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

    def _expired(self, now: int) -> None:
        """Claims whose time is over."""
        if self._leases.has_expired(now):
            self._batches.run(
                lambda transaction, most: self._leases.release_expired(transaction, now, most)
            )

    def _unanswered(self, now: int) -> None:
        """Questions that no person answered, and commands that no machine took, in time."""
        with self._core.database.read() as reader:
            has_overdue = bool(approvals.overdue(reader, now, 1))
            has_untaken = bool(commands.untaken(reader, now - PATIENCE_MS, 1))
        if has_overdue:
            self._batches.run(
                lambda transaction, most: self._approvals.expire(transaction, now, most)
            )
        if has_untaken:
            self._batches.run(
                lambda transaction, most: self._commands.fail_untaken(transaction, now, most)
            )

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
        before = now - self._core.settings.retention_days * _DAY_MS
        with self._core.database.read() as reader:
            first = messages.first_id_since(reader, before)

        def look_at_more(transaction: Transaction, most: int) -> bool:
            self._kept_until, has_more = retention.remove_messages(
                transaction, self._kept_until, first, now, most
            )
            return has_more

        if self._kept_until < first - 1:
            self._batches.run(look_at_more)
        self._remove(retention.remove_completed, min(first, self._kept_until))
        self._remove(retention.remove_tasks, before)
        self._remove(approvals.remove_older, before)
        self._remove(commands.remove_older, before)
        self._remove(commands.remove_old_logs, now - _LOGS_MS)
        self._remove(answers.remove_older, now - KEY_LIFE_MS)

    def _remove(self, some: Callable[[Transaction, int, int], int], before: int) -> None:
        """`some` removes a number of what is older, at most; how many went."""
        self._batches.run(lambda transaction, most: some(transaction, before, most) == most)
