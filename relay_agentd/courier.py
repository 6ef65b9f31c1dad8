"""Carries one session's mail from the inbox into its context, by the rules of `delivery`.

Owns the order of effects: a delivery is written down before it is pushed, and what became of it
is written down before anybody is told. One task pushes and looks after deliveries; the adapter's
reports and the doorbell come in between. Runs on the daemon's loop.

How long a delivery has been where it is counts from when this courier learned of it, by a clock
that never jumps: what is written down of it is for people.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from relay_agentd import delivery as rules
from relay_agentd.adapters.base import Adapter, Delivery, Outcome
from relay_agentd.clock import monotonic, now
from relay_agentd.delivery import DeliveryEvent, DeliveryState, OnTheWay
from relay_agentd.store.mail import DeliveryRow, MailStore
from relay_launchers.frame import frame_batch
from relay_server.wire import Priority

log = logging.getLogger(__name__)

# An adapter says when pushing is worth another try; if it forgot, this is when.
_NOT_READY_SECONDS: Final = 30.0
_READY_AGAIN_SECONDS: Final = 0.1
# Adapters have time-outs of their own; one that forgot must not stop the mail.
_PUSH_SECONDS: Final = 30.0
# The hook that asks has three seconds in all.
_BELL_PATIENCE_SECONDS: Final = 2.0

_EVENTS: Final = {
    Outcome.HANDED: DeliveryEvent.TAKEN,
    Outcome.RINGING: DeliveryEvent.RANG,
    Outcome.NOT_NOW: DeliveryEvent.REFUSED,
    Outcome.UNKNOWN: DeliveryEvent.BROKE,
}
# After a restart of the daemon, or in another conversation, nobody knows what became of these: a
# text that the doorbell's hook was about to get may have been lost with the daemon.
_INTERRUPTED: Final = frozenset({DeliveryState.OFFERED, DeliveryState.RUNG, DeliveryState.HANDED})
_ADAPTERS_CONCERN: Final = frozenset({DeliveryState.HANDED, DeliveryState.UNSURE})


class FirstPrompt:
    """What a background session begins with: the user's own words, carried like mail, before it,
    and without its frame. Kept in the session's row until it is proved."""

    def __init__(self, text: Callable[[], str | None], *, proved: Callable[[], None]) -> None:
        self.text = text
        self.proved = proved


def prompt_id(session_key: str) -> str:
    """The delivery of a session's first prompt: one for ever, so that a late proof of the first
    try counts for the second."""
    return f"p-{session_key}"


class Courier:
    """See the module."""

    def __init__(
        self,
        session_key: str,
        adapter: Adapter,
        mail: MailStore,
        *,
        agent_id: Callable[[], str | None],
        receipts_changed: Callable[[], None],
        relay_time: Callable[[], float] = now,
        first: FirstPrompt | None = None,
    ) -> None:
        self._key = session_key
        self._adapter = adapter
        self._mail = mail
        self._agent_id = agent_id
        self._receipts_changed = receipts_changed
        self._relay_time = relay_time
        self._first = first or FirstPrompt(lambda: None, proved=lambda: None)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._not_before = 0.0
        self._is_ready = True
        """Said since the last push began."""
        self._checks: dict[str, int] = {}
        self._since: dict[str, tuple[DeliveryState, float]] = {}
        self._pushing: str | None = None
        self.resume()

    async def run(self) -> None:
        """Carry mail until cancelled."""
        self._tell_adapter()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            self._wake.clear()
            await self._look_after()
            await self._offer()

    # --- what others report; all of it returns at once ---

    def wake(self) -> None:
        """There is mail."""
        self._wake.set()

    def ready(self) -> None:
        """Pushing is worth another try; a bell that was rung was not heard."""
        self._not_before = 0.0
        self._is_ready = True
        for row in self._mail.open_deliveries(self._key):
            if row.state is DeliveryState.RUNG:
                self._advance(row, DeliveryEvent.SILENT)
        self._wake.set()

    def resume(self) -> None:
        """Take over deliveries whose fate nobody watched."""
        for row in self._mail.open_deliveries(self._key):
            if row.state in _INTERRUPTED and row.id != self._pushing:
                self._advance(row, DeliveryEvent.BROKE)
        prompt = self._mail.find_delivery(prompt_id(self._key))
        if prompt is not None:
            self._note_prompt(prompt.id, prompt.state)
        self._wake.set()

    def proved(self, delivery_id: str, via: str) -> None:
        """The adapter saw it in the session's context."""
        self._report(delivery_id, DeliveryEvent.PROVED, via)

    def lost(self, delivery_id: str) -> None:
        """The adapter knows that it did not arrive."""
        self._report(delivery_id, DeliveryEvent.LOST)

    async def answer_bell(self) -> str | None:
        """All that waits, as one text for the session's hook; it counts as handed over."""
        # The bell may be heard before `push` has returned.
        with suppress(TimeoutError):
            async with asyncio.timeout(_BELL_PATIENCE_SECONDS):
                await self._idle.wait()
        for row in self._mail.open_deliveries(self._key):
            if row.state is DeliveryState.RUNG:
                self._advance(row, DeliveryEvent.SILENT)
        taken = self._cut(DeliveryState.HANDED)
        if taken is None:
            return None
        self._receipts_changed()
        self._tell_adapter()
        self._wake.set()
        return taken.text

    # --- the task's steps ---

    async def _offer(self) -> None:
        """Push what may be pushed now."""
        while monotonic() >= self._not_before and (
            row := self._cut_prompt() or self._cut(DeliveryState.OFFERED)
        ):
            # Whatever comes back, the row stays OFFERED until it is known.
            self._pushing = row.id
            self._idle.clear()
            self._is_ready = False
            try:
                outcome = await self._push(row)
            finally:
                self._pushing = None
                self._idle.set()
            if outcome is Outcome.NOT_NOW:
                # It may have become ready just while it refused.
                pause = _READY_AGAIN_SECONDS if self._is_ready else _NOT_READY_SECONDS
                self._not_before = monotonic() + pause
            # Its proof may have come first.
            current = self._mail.find_delivery(row.id) or row
            self._advance(current, _EVENTS[outcome], via="push")
            self._tell_adapter()

    async def _push(self, row: DeliveryRow) -> Outcome:
        try:
            async with asyncio.timeout(_PUSH_SECONDS):
                return await self._adapter.push(_for_adapter(row))
        except Exception:
            # The adapter's mistake: nobody knows how far it came.
            log.exception("session %s: pushing %s failed", self._key, row.id)
            return Outcome.UNKNOWN

    async def _look_after(self) -> None:
        """Do what is due for deliveries that nothing was heard of."""
        for row in self._mail.open_deliveries(self._key):
            due = self._due(row)
            if due is None or due > monotonic():
                continue
            if row.state is DeliveryState.RUNG:
                self._advance(row, DeliveryEvent.SILENT)
                continue
            self._checks[row.id] = self._checks.get(row.id, 0) + 1
            event = await self._ask(row)
            current = self._mail.find_delivery(row.id)
            if event is not None and current is not None and current.state is row.state:
                self._advance(current, event)
                self._tell_adapter()

    async def _ask(self, row: DeliveryRow) -> DeliveryEvent | None:
        try:
            async with asyncio.timeout(_PUSH_SECONDS):
                found = await self._adapter.find_evidence(_for_adapter(row))
        except Exception:
            log.exception("session %s: no evidence for %s", self._key, row.id)
            return None
        if found is None:
            return None
        return DeliveryEvent.FOUND if found else DeliveryEvent.MISSING

    # --- inside ---

    def _cut_prompt(self) -> DeliveryRow | None:
        """Write down the first prompt as a delivery, if it is still to be given."""
        text = self._first.text()
        if text is None or self._agent_id() is None or self._mail.open_deliveries(self._key):
            return None
        row = DeliveryRow(
            id=prompt_id(self._key),
            session_key=self._key,
            message_ids=(),
            text=text,
            priority=Priority.NORMAL,
            state=DeliveryState.OFFERED,
            since=now(),
        )
        self._mail.cut(row, now())
        return row

    def _note_prompt(self, delivery_id: str, state: DeliveryState) -> None:
        if delivery_id == prompt_id(self._key) and state is DeliveryState.IN_CONTEXT:
            self._first.proved()

    def _cut(self, state: DeliveryState) -> DeliveryRow | None:
        """Write down the next delivery, if it is its turn."""
        agent_id = self._agent_id()
        if agent_id is None:
            return None
        on_the_way = [
            OnTheWay(row.state, row.priority is Priority.URGENT, self._in_state_since(row))
            for row in self._mail.open_deliveries(self._key)
        ]
        waiting = self._mail.waiting(self._key, self._relay_time())
        ids = rules.next_batch(waiting, on_the_way, monotonic())
        if not ids:
            return None
        messages = self._mail.messages(self._key, ids)
        is_urgent = any(message.get("priority") == Priority.URGENT for message in messages)
        row = DeliveryRow(
            id=f"d-{secrets.token_hex(8)}",
            session_key=self._key,
            message_ids=ids,
            text=frame_batch(messages, agent_id=agent_id),
            priority=Priority.URGENT if is_urgent else Priority.NORMAL,
            state=state,
            since=now(),
        )
        self._mail.cut(row, now())
        return row

    def _report(self, delivery_id: str, event: DeliveryEvent, via: str | None = None) -> None:
        row = self._mail.find_delivery(delivery_id)
        if row is None or row.session_key != self._key:
            log.warning("session %s: %s of unknown delivery %s", self._key, event, delivery_id)
            return
        if self._advance(row, event, via=via):
            self._tell_adapter()

    def _advance(self, row: DeliveryRow, event: DeliveryEvent, *, via: str | None = None) -> bool:
        """Write a delivery's next state; False when the event comes too late."""
        state = rules.advance(row.state, event)
        if state is None:
            return False
        self._mail.move(row, state, now(), via)
        self._note_prompt(row.id, state)
        log.info(
            "session %s: delivery %s of messages %s: %s -> %s (%s)",
            self._key, row.id, row.message_ids, row.state, state, event,
        )  # fmt: skip
        self._checks.pop(row.id, None)
        self._receipts_changed()
        self._wake.set()
        return True

    def _tell_adapter(self) -> None:
        open_rows = self._mail.open_deliveries(self._key)
        self._adapter.outstanding(
            [
                _for_adapter(row)
                for row in open_rows
                if row.state in _ADAPTERS_CONCERN or row.id == self._pushing
            ]
        )

    def _due(self, row: DeliveryRow) -> float | None:
        return rules.check_at(row.state, self._in_state_since(row), self._checks.get(row.id, 0))

    def _in_state_since(self, row: DeliveryRow) -> float:
        state, since = self._since.get(row.id, (None, 0.0))
        if state is not row.state:
            since = monotonic()
            self._since[row.id] = (row.state, since)
        return since

    def _pause(self) -> float | None:
        """Seconds until something is due; None when only an event can change anything."""
        rows = self._mail.open_deliveries(self._key)
        self._since = {row.id: self._since[row.id] for row in rows if row.id in self._since}
        times = [time for row in rows if (time := self._due(row)) is not None]
        if self._not_before > monotonic():
            times.append(self._not_before)
        return max(0.0, min(times) - monotonic()) if times else None


def _for_adapter(row: DeliveryRow) -> Delivery:
    return Delivery(id=row.id, message_ids=row.message_ids, text=row.text, priority=row.priority)
