"""Messages on their way out: durable first, sent in order, exactly once.

Each message is written before anything is sent, and settled when the relay has answered for
good; its idempotency key makes a repetition harmless. One task sends; who submits waits a moment
for the verdict and else is told that it is queued. While the relay cannot be reached, what is
for agents of this machine gets into their inboxes at once, in the same order, and the relay gets
it later like all else (`store.exchange` recognises what it brings back). Runs on the daemon's
loop.

The relay remembers a key for 24 h. A message that may have been sent longer ago is looked for at
the relay by its mark before it is sent again. Order is kept per sender: one whom the relay slows
down does not hold up the others.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.clock import boottime, monotonic, now, timestamp
from relay_agentd.errors import OutboxFull, RelayRefused, RelayUnreachable
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.sent_before import find_sent
from relay_agentd.store.exchange import key_of
from relay_agentd.store.outbox import OutboxRow, OutboxState, OutboxStore

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1000
"""Of a machine. An agent that talks to nobody for hours must learn that nobody hears it."""

_RETRY: Final = (0.1, 5.0)
# A relay that is restarted is back within that time, and the sender gets its message's number.
_PATIENCE_SECONDS: Final = 3.0
# An answer that is none, again and again, is about this message: it must not stop all others.
_MOST_FAILURES: Final = 8
# Well below the relay's 24 h: its clock and ours need not agree.
_KEY_SECONDS: Final = 20 * 3600.0
# The relay's clock and ours, and ours before it was set right.
_CLOCKS_APART_SECONDS: Final = 2 * 86400.0
_SLOWED_SECONDS: Final = 5.0
# The relay's loop guard is not there to stop two agents that answer each other for ever: past
# this many in that time a sender's messages wait for the relay.
_LOCAL_LIMIT: Final = 40
_LOCAL_WINDOW_SECONDS: Final = 600.0


class Neighbours(Protocol):
    """The agents of this machine."""

    def receivers(self, message: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Whom here the relay would give it: agent ids and their sessions' keys."""

    def arrived(self, session_key: str) -> None:
        """There is mail in this session's inbox."""

    def known_to_relay(self) -> None:
        """It takes receipts for a message that may be here already."""


class Nobody:
    """No agents here."""

    def receivers(self, message: Mapping[str, Any]) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        """None."""
        return ()

    def arrived(self, session_key: str) -> None:
        """Cannot be."""

    def known_to_relay(self) -> None:
        """Nobody here has it."""


class Outbox:
    """See the module."""

    def __init__(
        self,
        client: AsyncRelayClient,
        store: OutboxStore,
        *,
        neighbours: Neighbours | None = None,
        limit: int = MOST_WAITING,
    ) -> None:
        self._client = client
        self._store = store
        self._neighbours = neighbours or Nobody()
        self._limit = limit
        self._waiters: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._filled = asyncio.Event()
        self._retry = asyncio.Event()
        self._is_away = False
        self._said: dict[int, float] = {}
        """When messages of this life of ours were said, by `boottime`."""
        self._tried: dict[int, float] = {}
        """When they were first tried since we knew that the relay had none of them."""
        self._slowed: dict[str, float] = {}
        """Senders to whom the relay said: not so fast; and until when."""
        self._talked: dict[str, deque[float]] = {}
        """When each sender's messages were given to agents here, the latest ones."""

    async def submit(
        self, message: Mapping[str, Any], *, idempotency_key: str
    ) -> Mapping[str, Any] | None:
        """Send a message; None: it is queued and goes out later. An answer with an `id` below
        zero: agents of this machine have it, and the relay gets it later.

        Raises: RelayRefused, and then it has left the outbox; OutboxFull.
        """
        self._add(message, idempotency_key)
        if self._is_away:
            self._deliver_here()
        standing = self._standing(idempotency_key)
        if standing is not None:
            return standing
        waiter = self._waiters.get(idempotency_key)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[idempotency_key] = waiter
        self._filled.set()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await asyncio.shield(waiter)
        except TimeoutError:
            # Neither here nor away: a relay that hangs.
            self._deliver_here()
            return self._standing(idempotency_key)
        finally:
            if waiter.done() or self._waiters.get(idempotency_key) is waiter:
                self._waiters.pop(idempotency_key, None)

    def retry(self) -> None:
        """The relay is there again."""
        self._is_away = False
        self._retry.set()

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        backoff = Backoff(*_RETRY)
        while True:
            row, pause = self._next()
            if row is None:
                self._filled.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), pause)
                continue
            if await self._send(row):
                backoff.reset()
                continue
            self._retry.clear()
            with suppress(TimeoutError):
                delay = backoff.next_delay(random.random())  # noqa: S311 - jitter
                await asyncio.wait_for(self._retry.wait(), delay)

    # --- what is said ---

    def _add(self, message: Mapping[str, Any], key: str) -> None:
        if self._store.find(key) is not None:
            return
        if self._store.count() >= self._limit:
            raise OutboxFull(self._limit)
        self._store.add(message, key, now())
        row = self._store.find(key)
        if row is not None:
            self._said[row.seq] = boottime()

    def _standing(self, key: str) -> Mapping[str, Any] | None:
        """What the sender may be told by now."""
        row = self._store.find(key)
        if row is None:
            return None
        if row.state is OutboxState.SENT:
            return row.message
        return self._local_form(row) if row.is_delivered else None

    # --- sending ---

    def _next(self) -> tuple[OutboxRow | None, float | None]:
        """Whose turn it is; or nobody's, for that many seconds or until something is said."""
        self._slowed = {who: time for who, time in self._slowed.items() if time > monotonic()}
        passed_over = set(self._slowed)
        while True:
            row = self._store.first(but_of=passed_over)
            if row is None or not self._waits_for_another(row):
                break
            passed_over.add(row.sender)
        if row is None and not passed_over:
            # Nothing waits: nothing has to be remembered of it, whoever told that it got through.
            self._said.clear()
            self._tried.clear()
        pause = min(self._slowed.values()) - monotonic() if self._slowed else None
        return row, pause

    def _waits_for_another(self, row: OutboxRow) -> bool:
        """Does it answer a message that the relay does not know yet?"""
        answered = self._answered(row)
        return answered is not None and answered.state is OutboxState.WAITING

    def _answered(self, row: OutboxRow) -> OutboxRow | None:
        number = row.message.get("replyTo")
        return self._store.numbered(number) if isinstance(number, int) and number < 0 else None

    async def _send(self, row: OutboxRow) -> bool:
        """Try once; was there a verdict?"""
        left = self._seconds_left(row)
        if left is not None and left <= 0:
            return self._give_up(row, "it expired before the relay could be reached")
        try:
            sent = await self._look_for(row) if self._may_be_forgotten(row) else None
            if sent is None:
                self._tried.setdefault(row.seq, boottime())
                body = self._for_relay(row, left)
                call = calls.send(body, idempotency_key=row.idempotency_key)
                sent = await self._client.request(call)
        except RelayUnreachable:
            self._away()
            return False
        except RelayRefused as refusal:
            return await self._refused(row, refusal)
        self._sent(row, sent)
        return True

    def _for_relay(self, row: OutboxRow, left: float | None) -> dict[str, Any]:
        """The message as the relay takes it: the same for each try."""
        body = dict(row.message)
        if left is not None:
            body["expiresInSeconds"] = max(1, round(left))
        number = body.get("replyTo")
        if isinstance(number, int) and number < 0:
            answered = self._store.numbered(number)
            body["replyTo"] = answered.message_id if answered else None
            if body["replyTo"] is None:
                del body["replyTo"]
        return body

    def _sent(self, row: OutboxRow, answer: Mapping[str, Any]) -> None:
        self._is_away = False
        self._store.sent(row.seq, answer)
        self._forget(row)
        waiter = self._waiters.get(row.idempotency_key)
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)
        self._neighbours.known_to_relay()

    async def _refused(self, row: OutboxRow, refusal: RelayRefused) -> bool:
        if refusal.code == "idempotency_mismatch":
            # Ours alone: the relay took an earlier try, which said something else of the time left.
            try:
                sent = await self._look_for(row)
            except (RelayUnreachable, RelayRefused):
                return False
            if sent is not None:
                self._sent(row, sent)
                return True
        waiter = self._waiters.get(row.idempotency_key)
        is_waited_for = waiter is not None and not waiter.done()
        # A sender who waits learns that he sends too much, or that the relay does not know our
        # token (any more); a queued message just waits longer.
        is_about_us = refusal.status in (401, 429)
        is_told = is_about_us and is_waited_for and not row.is_delivered
        if (refusal.may_pass or is_about_us) and not is_told:
            self._store.failed(row.seq)
            if refusal.status == 429:
                seconds = refusal.problem.get("retryAfterSeconds") or _SLOWED_SECONDS
                self._slowed[row.sender] = monotonic() + min(float(seconds), 60.0)
                return True
            if is_about_us or refusal.status == 503 or row.attempts < _MOST_FAILURES:
                return False
        if waiter is not None and is_waited_for:
            self._store.refused(row.seq)
            self._forget(row)
            waiter.set_exception(refusal)
            return True
        return self._give_up(row, f"{refusal} ({refusal.code})")

    def _give_up(self, row: OutboxRow, reason: str) -> bool:
        log.error("a queued message of %s is dropped: %s", row.sender, reason)
        self._store.refused(row.seq)
        self._forget(row)
        return True

    # --- has it been sent before? ---

    def _may_be_forgotten(self, row: OutboxRow) -> bool:
        """May the relay have it, and not know its key any more?"""
        if row.seq in self._tried:
            return boottime() - self._tried[row.seq] > _KEY_SECONDS
        # One of an earlier life of ours may have been tried at any time since it was said.
        return row.seq not in self._said and not 0 <= now() - row.queued_at < _KEY_SECONDS

    async def _look_for(self, row: OutboxRow) -> Mapping[str, Any] | None:
        """The message as the relay has it. Raises: RelayUnreachable, RelayRefused."""
        found = await find_sent(
            self._client,
            row.sender,
            lambda message: key_of(message) == row.idempotency_key,
            since=row.queued_at - _CLOCKS_APART_SECONDS,
        )
        if found is None:
            self._tried[row.seq] = boottime()
        return found

    def _age(self, row: OutboxRow) -> float:
        """Seconds since it was said; the wall clock's, if that was before a restart of ours."""
        if row.seq in self._said:
            return boottime() - self._said[row.seq]
        return max(0.0, now() - row.queued_at)

    def _seconds_left(self, row: OutboxRow) -> float | None:
        """Until it expires, counted from when it was said; None: never."""
        lifetime = row.message.get("expiresInSeconds")
        return None if lifetime is None else float(lifetime) - self._age(row)

    # --- on this machine ---

    def _away(self) -> None:
        """The relay cannot be reached."""
        self._is_away = True
        self._deliver_here()
        for key, waiter in list(self._waiters.items()):
            standing = self._standing(key)
            if standing is not None and not waiter.done():
                waiter.set_result(standing)

    def _deliver_here(self) -> None:
        """What is for agents of this machine gets there without the relay, in order."""
        waiting_for_relay: set[str] = set()
        for row in self._store.undelivered():
            left = self._seconds_left(row)
            is_over = left is not None and left <= 0
            if row.sender in waiting_for_relay or is_over:
                continue
            receivers = self._neighbours.receivers(row.message)
            if not receivers:
                continue
            if not self._may_talk(row.sender):
                waiting_for_relay.add(row.sender)
                continue
            self._store.deliver(row, self._local_form(row), receivers, now())
            log.info("message %s of %s goes to %s here", row.number, row.sender, receivers)
            for _, session_key in receivers:
                self._neighbours.arrived(session_key)

    def _local_form(self, row: OutboxRow) -> Mapping[str, Any]:
        """The message as the relay would show it."""
        if row.state is OutboxState.SENT:
            return row.message
        said = {key: value for key, value in row.message.items() if key != "expiresInSeconds"}
        left = self._seconds_left(row)
        expires_at = None if left is None else timestamp(self._client.relay_time() + left)
        return {
            "id": row.number,
            "createdAt": timestamp(now() - self._age(row)),
            "expiresAt": expires_at,
            "recipients": len(self._neighbours.receivers(row.message)),
            **said,
        }

    def _may_talk(self, sender: str) -> bool:
        oldest = monotonic() - _LOCAL_WINDOW_SECONDS
        self._talked = {who: talked for who, talked in self._talked.items() if talked[-1] > oldest}
        talked = self._talked.setdefault(sender, deque(maxlen=_LOCAL_LIMIT))
        if len(talked) == _LOCAL_LIMIT and talked[0] > oldest:
            return False
        talked.append(monotonic())
        return True

    def _forget(self, row: OutboxRow) -> None:
        self._said.pop(row.seq, None)
        self._tried.pop(row.seq, None)
