"""Claimable messages: exactly one agent works on each; and what an operator may do to a message."""

from typing import Any

from relay_server.domain import lease
from relay_server.domain.message import Message, fitting_body
from relay_server.domain.routing import Target
from relay_server.domain.task import result_text
from relay_server.errors import Conflict
from relay_server.services import lookup, render
from relay_server.services.core import Core
from relay_server.services.leases import Ending, Leases
from relay_server.services.presence import Presence
from relay_server.services.sending import Sender, message_not_found
from relay_server.store import messages
from relay_server.store.database import Reader, Transaction


class ClaimService:
    """Thread-safe; the writer lock makes each claim atomic."""

    def __init__(self, core: Core, presence: Presence, leases: Leases, sender: Sender) -> None:
        self._core = core
        self._presence = presence
        self._leases = leases
        self._sender = sender

    def claim(
        self, message_id: int, agent_id: str, lease_seconds: int, instance: str | None
    ) -> render.Json:
        """Raises: Conflict `already_claimed` or `not_claimable`."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id, instance)
            message = require_claimable(transaction, message_id)
            _require_available(message, now)
            # Nobody watches over what is held by one that counts as gone.
            self._presence.alive(transaction, agent, now)
            work = self._leases.of_message(transaction, message)
            work = self._leases.claim(transaction, work, agent_id, now, lease_seconds * 1000)
            assert work.message is not None
            return render.message_json(work.message, now)

    def release(self, message_id: int, agent_id: str, instance: str | None) -> render.Json:
        """Give it back. Raises: Conflict `not_owner`."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            lookup.require_agent(transaction, agent_id, instance)
            message = require_claimable(transaction, message_id)
            held = lease.require_owner(message.lease, agent_id, now)
            if held.completed_at is not None:
                raise Conflict(f"Message {message_id} is completed.", code="not_claimable")
            work = self._leases.of_message(transaction, message)
            work = self._leases.release(
                transaction, work, now, actor=agent_id, why="its owner gave it back"
            )
            assert work.message is not None
            return render.message_json(work.message, now)

    def complete(
        self, message_id: int, agent_id: str, result: Any, instance: str | None
    ) -> render.Json:
        """End it; a result becomes a reply in the thread. Again is harmless for the owner."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            lookup.require_agent(transaction, agent_id, instance)
            message = require_claimable(transaction, message_id)
            if lease.complete(message.lease, agent_id, now) == message.lease:
                return render.message_json(message, now)
            work = self._leases.of_message(transaction, message)
            work = self._leases.complete(
                transaction, work, Ending(result=result), now, actor=agent_id
            )
            if result is not None:
                self._reply(transaction, message, agent_id, result, now)
            assert work.message is not None
            return render.message_json(work.message, now)

    def _reply(
        self, transaction: Transaction, message: Message, agent_id: str, result: Any, now: int
    ) -> None:
        given: dict[str, Any] = {
            "from": agent_id,
            "to": message.sender,
            # An object may be larger than a body; the payload has all of it.
            "body": fitting_body(result_text(result)),
        }
        if isinstance(result, dict):
            given["payload"] = result
        # Whoever asked may be gone by now; the result still belongs into the thread.
        target = Target(message.sender, message.sender)
        reply = self._sender.store(transaction, given, target, message, now)
        self._sender.announce(transaction, reply, now)

    # -- the operator's

    def deliver(self, message_id: int) -> render.Json:
        """Let a held message through. Raises: Conflict when it is not held."""
        now = self._core.clock.now_ms()
        core = self._core
        with core.database.write() as transaction:
            message = _require(transaction, message_id)
            if not message.is_held:
                raise Conflict(f"Message {message_id} is not held.", code="invalid_transition")
            messages.set_released(transaction, message_id, now)
            message = _require(transaction, message_id)
            answer = render.message_json(message, now)
            rendered = render.dumps(answer)

            def tell() -> None:
                core.listeners.offer_message(message, rendered)
                core.events.add_rendered("message.released", "message", rendered)

            transaction.on_commit(tell)
        return answer

    def remove(self, message_id: int) -> None:
        """Delete it and its receipts."""
        with self._core.database.write() as transaction:
            self._sender.keep_answer(transaction, _require(transaction, message_id))
            messages.remove(transaction, message_id)
            transaction.on_commit(
                lambda: self._core.events.add("message.deleted", messageId=message_id)
            )


def _require(reader: Reader, message_id: int) -> Message:
    message = messages.get(reader, message_id)
    if message is None:
        raise message_not_found(message_id)
    return message


def require_claimable(reader: Reader, message_id: int) -> Message:
    """Raises: NotFound, Conflict `not_claimable`."""
    message = _require(reader, message_id)
    if not message.claimable:
        raise Conflict(f"Message {message_id} is not claimable.", code="not_claimable")
    return message


def _require_available(message: Message, now: int) -> None:
    """Raises: Conflict `not_claimable` for what nobody may take."""
    state = None
    if message.is_held:
        state = "held"
    elif message.completed_at is not None and message.claim_agent is None:
        state = "completed"
    elif message.is_expired(now) and message.is_open(now):
        state = "expired"
    if state is not None:
        raise Conflict(f"Message {message.id} is {state}.", code="not_claimable")
