"""Messages on their way out: durable first, sent in order, exactly once.

Each message is written before anything is sent, and removed when the relay has answered for
good; its idempotency key makes a repetition harmless. One task sends; who submits waits a moment
for the verdict and else is told that it is queued. Runs on the daemon's loop.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.clock import now
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.store.outbox import OutboxRow, OutboxStore

log = logging.getLogger(__name__)

_RETRY: Final = (0.1, 5.0)
# A relay that is restarted is back within that time, and the sender gets its message's number.
_PATIENCE_SECONDS: Final = 3.0
# An answer that is none, again and again, is about this message: it must not stop all others.
_MOST_FAILURES: Final = 8


class Outbox:
    """See the module."""

    def __init__(self, client: AsyncRelayClient, store: OutboxStore) -> None:
        self._client = client
        self._store = store
        self._waiters: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._filled = asyncio.Event()
        self._retry = asyncio.Event()

    async def submit(
        self, message: Mapping[str, Any], *, idempotency_key: str
    ) -> Mapping[str, Any] | None:
        """Send a message; None: it is queued and goes out later.

        Raises: RelayRefused, and then it has left the outbox.
        """
        self._store.add(message, idempotency_key, now())
        waiter = self._waiters.get(idempotency_key)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[idempotency_key] = waiter
        self._filled.set()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await asyncio.shield(waiter)
        except TimeoutError:
            return None
        finally:
            if waiter.done() or self._waiters.get(idempotency_key) is waiter:
                self._waiters.pop(idempotency_key, None)

    def retry(self) -> None:
        """The relay is there again."""
        self._retry.set()

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        backoff = Backoff(*_RETRY)
        self._filled.set()
        while True:
            await self._filled.wait()
            row = self._store.first()
            if row is None:
                self._filled.clear()
                continue
            if await self._send(row):
                backoff.reset()
                continue
            self._retry.clear()
            with suppress(TimeoutError):
                delay = backoff.next_delay(random.random())  # noqa: S311 - jitter
                await asyncio.wait_for(self._retry.wait(), delay)

    async def _send(self, row: OutboxRow) -> bool:
        """Try once; was there a verdict?"""
        call = calls.send(row.message, idempotency_key=row.idempotency_key)
        try:
            sent = await self._client.request(call)
        except RelayUnreachable:
            return False
        except RelayRefused as refusal:
            return self._refused(row, refusal)
        self._store.remove(row.seq)
        waiter = self._waiters.get(row.idempotency_key)
        if waiter is not None and not waiter.done():
            waiter.set_result(sent)
        return True

    def _refused(self, row: OutboxRow, refusal: RelayRefused) -> bool:
        waiter = self._waiters.get(row.idempotency_key)
        is_waited_for = waiter is not None and not waiter.done()
        # A sender who waits learns that he sends too much, or that the relay does not know our
        # token (any more); a queued message just waits longer.
        is_about_us = refusal.status in (401, 429)
        if (refusal.may_pass or is_about_us) and not (is_about_us and is_waited_for):
            self._store.failed(row.seq)
            if is_about_us or refusal.status == 503 or row.attempts < _MOST_FAILURES:
                return False
        self._store.remove(row.seq)
        if waiter is not None and is_waited_for:
            waiter.set_exception(refusal)
        else:
            log.error("the relay refused a queued message: %s (%s)", refusal, refusal.code)
        return True
