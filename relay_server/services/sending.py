"""POST a message: check, guard, write one row, hand it to whoever listens.

The hot path of the relay: a handful of indexed statements in one transaction.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from relay_server.domain.limits import LOOP_GUARD, SenderLimit, runs_in_circles
from relay_server.domain.message import Message
from relay_server.domain.receipt import Receipt, advance
from relay_server.domain.routing import MalformedTarget, Target, matches, parse_target
from relay_server.errors import InvalidRequest, NotFound, RateLimited
from relay_server.services import lookup, render
from relay_server.services.core import Core
from relay_server.services.live import ANY_RECEIPT
from relay_server.store import agents, answers, inbox, messages, receipts
from relay_server.store.database import Reader, Transaction
from relay_server.wire import BUILT_IN_AGENTS, Priority, ReceiptState

KEY_LIFE_MS: Final = 24 * 3600 * 1000
# Of answers whose message is gone.
_SCOPE: Final = "sendMessage"


class Once(NamedTuple):
    """The sender's key for this request, and what the request was."""

    key: str
    digest: str


class Sender:
    """Owns the count of messages a minute, used under the writer lock."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._limit = SenderLimit(core.settings.sender_limit)

    def send(
        self, given: Mapping[str, Any], key: str | None, instance: str | None
    ) -> tuple[bytes, bool]:
        """The message as JSON, and whether it is the first answer again.

        Raises: NotFound, InvalidRequest, RateLimited, Conflict.
        """
        now = self._core.clock.now_ms()
        once = Once(key, request_hash(given)) if key else None
        with self._core.database.write() as transaction:
            if once:
                earlier = _earlier(transaction, given["from"], once, now - KEY_LIFE_MS)
                if earlier is not None:
                    return earlier, True
            return self._write(transaction, given, now, once, instance), False

    @staticmethod
    def keep_answer(transaction: Transaction, message: Message) -> None:
        """Its row is about to go, but its key still says that it was sent."""
        if message.idempotency_key is None:
            return
        kept = answers.Answer(message.idempotency_hash or "", 201, _as_answered(message).decode())
        answers.save(
            *(transaction, _SCOPE, message.sender, message.idempotency_key, kept),
            message.created_at,
        )

    def _write(
        self,
        transaction: Transaction,
        given: Mapping[str, Any],
        now: int,
        once: Once | None,
        instance: str | None,
    ) -> bytes:
        sender = given["from"]
        self.require_may_send(transaction, sender, instance, now)
        original = self._original(transaction, given.get("replyTo"))
        given, target = _addressed(given, original)
        message = self.store(transaction, given, target, original, now, once=once, must_exist=True)
        self._limit.count(sender, now)
        return self.announce(transaction, message, now)

    def store(
        self,
        transaction: Transaction,
        given: Mapping[str, Any],
        target: Target,
        original: Message | None,
        now: int,
        *,
        once: Once | None = None,
        must_exist: bool = False,
    ) -> Message:
        """Write the row, and that the sender replied.

        Raises: NotFound when a direct receiver must exist and does not.
        """
        sender, channel = given["from"], given.get("channel")
        recipients = agents.count_receivers(transaction, target.address, sender, channel)
        if recipients is None and must_exist:
            raise lookup.agent_not_found(transaction, target.address)
        message_id = messages.newest_id(transaction) + 1
        thread = original.thread_id if original else message_id
        payload = given.get("payload")
        lifetime = given.get("expiresInSeconds")
        message = Message(
            id=message_id,
            sender=sender,
            target=target.address,
            addressed_to=given["to"],
            body=given["body"],
            subject=given.get("subject"),
            channel=channel,
            reply_to=original.id if original else None,
            thread_id=thread,
            kind=given.get("kind") or "message",
            priority=given.get("priority") or Priority.NORMAL,
            claimable=bool(given.get("claimable")),
            payload=None if payload is None else json.dumps(payload, ensure_ascii=False),
            recipients=recipients or 0,
            held_reason=self._held_reason(transaction, sender, original, now),
            released_at=None,
            idempotency_key=once.key if once else None,
            idempotency_hash=once.digest if once else None,
            claim_agent=None,
            claimed_at=None,
            claim_expires_at=None,
            completed_at=None,
            created_at=now,
            expires_at=now + lifetime * 1000 if lifetime else None,
        )
        messages.insert(transaction, message)
        if original:
            self._mark_replied(transaction, original, sender, now)
        return message

    def announce(self, transaction: Transaction, message: Message, now: int) -> bytes:
        """Tell everyone who listens, once it is durable; the message as JSON."""
        core = self._core
        as_json = render.message_json(message, now)
        rendered = render.dumps(as_json)

        def tell() -> None:
            core.metrics.sent(is_held=message.is_held)
            if not message.is_held:
                core.listeners.offer_message(message, rendered)
            core.events.add_rendered("message.created", "message", rendered)
            if message.is_held:
                core.events.add_rendered("message.held", "message", rendered)

        transaction.on_commit(tell)
        return rendered

    # -- checks

    def count(self, sender: str, now: int) -> None:
        """Note one message of a sender."""
        self._limit.count(sender, now)

    def require_may_send(
        self, transaction: Transaction, sender: str, instance: str | None, now: int
    ) -> None:
        """Raises: NotFound `agent_not_found`, Conflict `stale_instance`, RateLimited."""
        if sender in BUILT_IN_AGENTS:
            return
        if instance is not None or not agents.exists(transaction, sender):
            lookup.require_agent(transaction, sender, instance)
        self.require_within_limit(sender, now)

    def require_within_limit(self, sender: str, now: int) -> None:
        """Raises: RateLimited."""
        wait_ms = self._limit.wait_ms(sender, now)
        if wait_ms:
            raise RateLimited(
                f"{sender} sends more than {self._core.settings.sender_limit} messages a minute.",
                max(1, -(-wait_ms // 1000)),
            )

    @staticmethod
    def _original(transaction: Transaction, reply_to: int | None) -> Message | None:
        if reply_to is None:
            return None
        original = messages.get(transaction, reply_to)
        if original is None:
            raise message_not_found(reply_to)
        return original

    def _held_reason(
        self, reader: Reader, sender: str, original: Message | None, now: int
    ) -> str | None:
        limit = self._core.settings.loop_limit
        if original is None or not limit or sender in BUILT_IN_AGENTS:
            return None
        newest = messages.newest_of_thread(reader, original.thread_id, limit)
        return LOOP_GUARD if runs_in_circles(newest, limit, now) else None

    def _mark_replied(
        self, transaction: Transaction, original: Message, sender: str, now: int
    ) -> None:
        known = receipts.of_agent(transaction, sender, [original.id]).get(original.id)
        if known is None:
            agent = agents.get(transaction, sender)
            if agent is None or not matches(
                agent.card,
                sender=original.sender,
                target=original.target,
                channel=original.channel,
            ):
                return
        receipt = known or Receipt(original.id, sender)
        replied = advance(receipt, ReceiptState.REPLIED, now)
        if replied is receipt:
            return
        receipts.save(transaction, [replied])
        advance_cursor(transaction, sender, now)
        as_json = render.receipt_json(replied)
        core = self._core

        def tell() -> None:
            core.metrics.receipt(ReceiptState.REPLIED)
            core.listeners.changed(ANY_RECEIPT)
            core.events.add(
                "message.receipt", messageId=original.id, agentId=sender, receipt=as_json
            )

        transaction.on_commit(tell)


def _earlier(reader: Reader, sender: str, once: Once, after: int) -> bytes | None:
    """The first answer to this key. Raises: InvalidRequest `idempotency_mismatch`."""
    message = messages.by_key(reader, sender, once.key, after)
    if message is not None:
        digest, answer = message.idempotency_hash, _as_answered(message)
    else:
        kept = answers.get(reader, _SCOPE, sender, once.key, after)
        if kept is None:
            return None
        digest, answer = kept.request_hash, kept.body.encode()
    if digest != once.digest:
        raise InvalidRequest(
            "The idempotency key was used for a different request.",
            code="idempotency_mismatch",
        )
    return answer


def _as_answered(message: Message) -> bytes:
    """As it was then: neither claimed nor let through."""
    first = render.message_json(message, message.created_at)
    first["claim"] = None
    first["held"] = {"reason": message.held_reason} if message.held_reason else None
    return render.dumps(first)


def _addressed(
    given: Mapping[str, Any], original: Message | None
) -> tuple[Mapping[str, Any], Target]:
    """With its `to`: a reply goes to whoever it answers. Raises: InvalidRequest."""
    to = given.get("to")
    if to is not None:
        return given, parse_to(to)
    if original is None:
        raise InvalidRequest.of([("to", "is required unless replyTo is given")])
    return {**given, "to": original.sender}, parse_to(original.sender)


def advance_cursor(transaction: Transaction, agent_id: str, now: int) -> int:
    """Move an agent's cursor over what it has been handed; where it is now."""
    agent = agents.get(transaction, agent_id)
    if agent is None:
        return 0
    cursor = inbox.advanced_cursor(transaction, agent.card, agent.cursor, now=now)
    if cursor != agent.cursor:
        agents.set_cursor(transaction, agent_id, cursor)
    return cursor


def parse_to(text: str) -> Target:
    """Raises: InvalidRequest naming the field `to`."""
    try:
        return parse_target(text)
    except MalformedTarget as error:
        raise InvalidRequest.of([("to", str(error))]) from None


def message_not_found(message_id: int | str) -> NotFound:
    """The problem to raise."""
    return NotFound(f"There is no message {message_id}.", code="message_not_found")


def request_hash(given: Mapping[str, Any]) -> str:
    """What makes two requests the same, whatever the order of their fields."""
    body = {name: value for name, value in given.items() if name != "idempotencyKey"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
