"""Proof of delivery: what sessions report, what was routed, and who still has to get a message.

Receivers without a row are derived from routing. Marks of `routed` come once for each event on
each stream, so they are buffered and written in batches by one thread; whoever reads receipts
flushes first.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_server.domain.agent import Agent
from relay_server.domain.message import Message
from relay_server.domain.receipt import Receipt, advance
from relay_server.domain.routing import matches
from relay_server.errors import Unavailable
from relay_server.services import lookup, render
from relay_server.services.core import Core
from relay_server.services.live import ANY_RECEIPT
from relay_server.services.sending import advance_cursor, message_not_found
from relay_server.store import agents, messages, receipts
from relay_server.store.database import Reader, Transaction
from relay_server.wire import ReceiptState

# Long enough to gather a burst, short enough that nobody notices.
_FLUSH_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 1.0


class ReceiptService:
    """Owns the buffer of routed marks; `run` is its thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._marks: list[tuple[str, int, int]] = []
        self._lock = threading.Lock()
        self._has_marks = threading.Event()
        self._is_closed = threading.Event()

    # -- routed marks

    def mark_routed(self, marks: Sequence[tuple[str, int]]) -> None:
        """(agent, message): given to the agent's machine; written soon."""
        now = self._core.clock.now_ms()
        with self._lock:
            self._marks.extend((agent_id, message_id, now) for agent_id, message_id in marks)
        if not self._has_marks.is_set():
            self._has_marks.set()

    def flush(self) -> None:
        """Write what is buffered. Raises: Unavailable, and then it stays buffered."""
        if not self._marks:
            return
        marks: list[tuple[str, int, int]] = []
        try:
            with self._core.database.write() as transaction:
                with self._lock:
                    marks, self._marks = self._marks, []
                self._write_routed(transaction, marks)
        except Unavailable:
            with self._lock:
                self._marks[:0] = marks
            raise

    def routed_now(self, agent_id: str, message_ids: Sequence[int]) -> None:
        """An agent's poll is about to be answered with these."""
        with self._core.database.read() as reader:
            known = receipts.of_agent(reader, agent_id, message_ids)
        new = [m for m in message_ids if m not in known or not known[m].is_taken]
        if not new:
            return
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            self._write_routed(transaction, [(agent_id, m, now) for m in new])

    def _write_routed(
        self, transaction: Transaction, marks: Sequence[tuple[str, int, int]]
    ) -> None:
        receipts.mark_routed(transaction, marks)
        core = self._core

        def tell() -> None:
            core.metrics.receipt(ReceiptState.ROUTED, len(marks))
            core.listeners.changed(ANY_RECEIPT)
            core.events.add_small(
                "message.receipt",
                [
                    {
                        "messageId": message_id,
                        "agentId": agent_id,
                        "receipt": {"agentId": agent_id, "state": ReceiptState.ROUTED},
                    }
                    for agent_id, message_id, _ in dict.fromkeys(marks)
                ],
            )

        transaction.on_commit(tell)

    def run(self) -> None:
        """Flush until closed."""
        while not self._is_closed.is_set():
            self._has_marks.wait()
            self._has_marks.clear()
            self._is_closed.wait(_FLUSH_SECONDS)
            try:
                self.flush()
            except Unavailable:
                # Said and logged where it happened; another program may hold the file for long.
                self._has_marks.set()
                self._is_closed.wait(_RETRY_SECONDS)

    def close(self) -> None:
        """End the thread, after a last flush."""
        self._is_closed.set()
        self._has_marks.set()

    # -- reports

    def ack(
        self, agent_id: str, reports: Sequence[Mapping[str, Any]], instance: str | None
    ) -> render.Json:
        """The session's side says how far messages got. Only forward; repeats are harmless."""
        self.flush()
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id, instance)
            ids = list({report["messageId"] for report in reports})
            before = receipts.of_agent(transaction, agent_id, ids) if ids else {}
            known = {m for m in ids if m in before or _is_for(transaction, agent, m)}
            after = dict(before)
            for report in reports:
                message_id = report["messageId"]
                if message_id in known:
                    receipt = after.get(message_id) or Receipt(message_id, agent_id)
                    after[message_id] = advance(
                        receipt,
                        ReceiptState(report["state"]),
                        now,
                        report.get("via"),
                        report.get("detail"),
                    )
            changed = [r for m, r in after.items() if r is not before.get(m)]
            cursor = self._save(transaction, agent, changed, now)
            self._measure(transaction, before, changed)
        missing = sorted(set(ids) - known)
        return {"agentId": agent_id, "cursor": cursor, "unknown": missing}

    def read(self, message_id: int, agent_id: str, instance: str | None) -> render.Json:
        """The agent read it; idempotent. Its receipt."""
        self.flush()
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id, instance)
            before = receipts.of_agent(transaction, agent_id, [message_id]).get(message_id)
            if before is None and not _is_for(transaction, agent, message_id):
                raise message_not_found(message_id)
            receipt = before or Receipt(message_id, agent_id)
            after = advance(receipt, ReceiptState.READ, now)
            changed = [] if after is before else [after]
            self._save(transaction, agent, changed, now)
            self._measure(transaction, {message_id: receipt}, changed)
        return render.receipt_json(after)

    def _measure(
        self, transaction: Transaction, before: Mapping[int, Receipt], changed: Sequence[Receipt]
    ) -> None:
        """How far they got, and how long the proofs of delivery took."""
        created_at = messages.created_at(transaction, [receipt.message_id for receipt in changed])
        measured = self._core.metrics

        def tell() -> None:
            for receipt in changed:
                measured.receipt(receipt.state)
                earlier = before.get(receipt.message_id) or Receipt(receipt.message_id, "")
                since = created_at[receipt.message_id]
                if receipt.handed_at and not earlier.handed_at:
                    measured.delivered(ReceiptState.HANDED, (receipt.handed_at - since) / 1000)
                if receipt.in_context_at and not earlier.in_context_at:
                    seconds = (receipt.in_context_at - since) / 1000
                    measured.delivered(ReceiptState.IN_CONTEXT, seconds)

        transaction.on_commit(tell)

    def _save(
        self, transaction: Transaction, agent: Agent, changed: Sequence[Receipt], now: int
    ) -> int:
        """Write receipts, the cursor and the last proof; the cursor."""
        if not changed:
            # What stood in its way may have been deleted or have expired meanwhile.
            return advance_cursor(transaction, agent.id, now)
        receipts.save(transaction, changed)
        if any(receipt.in_context_at == now for receipt in changed):
            agents.set_last_proof(transaction, agent.id, now)
        cursor = advance_cursor(transaction, agent.id, now)
        core = self._core

        def tell() -> None:
            core.listeners.changed(ANY_RECEIPT)
            for receipt in changed:
                core.events.add(
                    "message.receipt",
                    messageId=receipt.message_id,
                    agentId=agent.id,
                    receipt=render.receipt_json(receipt),
                )

        transaction.on_commit(tell)
        return cursor


def _is_for(reader: Reader, agent: Agent, message_id: int) -> bool:
    message = messages.get(reader, message_id)
    return message is not None and not message.is_held and receives(agent, message)


def receivers_of(reader: Reader, message: Message) -> list[Agent]:
    """The registered agents that receive it, by today's routing."""
    return [agent for agent in agents.addressed(reader, message.target) if receives(agent, message)]


def receives(agent: Agent, message: Message) -> bool:
    """Whether it is in the agent's inbox."""
    routed = matches(
        agent.card, sender=message.sender, target=message.target, channel=message.channel
    )
    unfinished = message.claimable and message.completed_at is None
    return routed and (message.id > agent.inbox_start or bool(unfinished))


def receipts_of(reader: Reader, message: Message, now: int) -> list[Receipt]:
    """Every receiver's receipt, written or derived, by agent."""
    found = receipts.of_message(reader, message.id)
    for agent in receivers_of(reader, message):
        found.setdefault(agent.id, Receipt(message.id, agent.id))
    return [as_shown(found[agent_id], message, now) for agent_id in sorted(found)]


def as_shown(receipt: Receipt, message: Message, now: int) -> Receipt:
    """`held` and `expired` follow from the message."""
    if receipt.is_taken:
        return receipt
    if message.is_held:
        return _with_state(receipt, ReceiptState.HELD)
    if message.is_expired(now):
        return _with_state(receipt, ReceiptState.EXPIRED)
    return receipt


def _with_state(receipt: Receipt, state: ReceiptState) -> Receipt:
    return Receipt(**{**{f: getattr(receipt, f) for f in receipts.COLUMNS}, "state": state})
