"""Why a message did or did not arrive, and who would get one."""

from typing import Any, Final

from relay_server.domain.agent import Agent
from relay_server.domain.message import Message
from relay_server.domain.receipt import Receipt
from relay_server.domain.routing import why_not
from relay_server.services import lookup, render
from relay_server.services.core import Core
from relay_server.services.receipts import ReceiptService, as_shown, receives
from relay_server.services.sending import message_not_found, parse_to
from relay_server.store import agents, messages, receipts
from relay_server.wire import AgentStatus, Reachability, ReceiptState

_STEPS: Final = (
    ("routed", "routed_at"),
    ("handed", "handed_at"),
    ("in_context", "in_context_at"),
    ("read", "read_at"),
    ("replied", "replied_at"),
)
_STUCK: Final = {
    ReceiptState.HELD: "held until an operator lets it through",
    ReceiptState.EXPIRED: "it expired before it was handed over",
    ReceiptState.FAILED: "its machine could not hand it over",
}


class ExplainService:
    """Thread-safe; owns nothing but its core."""

    def __init__(self, core: Core, receipt_service: ReceiptService) -> None:
        self._core = core
        self._receipts = receipt_service

    def route(self, to: str, channel: str | None) -> render.Json:
        """Who would get it, before sending."""
        target = parse_to(to)
        with self._core.database.read() as reader:
            everyone = agents.all_agents(reader)
            if target.agent_id and not agents.exists(reader, target.agent_id):
                raise lookup.agent_not_found(reader, target.agent_id)
        candidates = []
        for agent in everyone:
            if agent.built_in and target.address != agent.id:
                continue
            # No sender is called "": nobody is left out for being the sender.
            reason = why_not(agent.card, sender="", target=target.address, channel=channel)
            why = reason or _matched_why(agent, target.address)
            candidates.append(_candidate(agent, matched=reason is None, why=why, receipt=None))
        return {"candidates": candidates}

    def explain(self, message_id: int) -> render.Json:
        """Everything the relay knows of one message's way. Raises: NotFound."""
        self._receipts.flush()
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            message = messages.get(reader, message_id)
            if message is None:
                raise message_not_found(message_id)
            everyone = agents.all_agents(reader)
            found = receipts.of_message(reader, message_id)
        candidates = []
        for agent in everyone:
            if agent.built_in and message.target != agent.id and agent.id not in found:
                continue
            candidates.append(self._explained(agent, message, found.get(agent.id), now))
        rendered = render.message_json(message, now)
        return {
            "message": rendered,
            "candidates": candidates,
            "held": rendered["held"],
            "timeline": _timeline(message, list(found.values())),
        }

    @staticmethod
    def _explained(
        agent: Agent, message: Message, receipt: Receipt | None, now: int
    ) -> render.Json:
        reason = why_not(
            agent.card, sender=message.sender, target=message.target, channel=message.channel
        )
        matched = receives(agent, message)
        if reason is None and not matched:
            reason = "it registered after the message was sent"
        if matched and receipt is None:
            receipt = Receipt(message.id, agent.id)
        shown = as_shown(receipt, message, now) if receipt else None
        why = reason or f"{_matched_why(agent, message.target)}; {_progress(agent, shown)}"
        return _candidate(agent, matched=matched, why=why, receipt=shown)


def _candidate(agent: Agent, *, matched: bool, why: str, receipt: Receipt | None) -> render.Json:
    return {
        "agentId": agent.id,
        "matched": matched,
        "why": why,
        "status": agent.status,
        "reachability": agent.reachability,
        "receipt": render.receipt_json(receipt) if receipt else None,
    }


def _matched_why(agent: Agent, target: str) -> str:
    if target == agent.id:
        return "it is addressed directly"
    return f"it has the address {target}"


def _progress(agent: Agent, receipt: Receipt | None) -> str:
    state = receipt.state if receipt else ReceiptState.STORED
    if state in _STUCK:
        detail = f": {receipt.detail}" if receipt and receipt.detail else ""
        return _STUCK[state] + detail
    if state is ReceiptState.STORED:
        if agent.status == AgentStatus.OFFLINE:
            return "waiting, the agent is offline"
        if agent.reachability in (Reachability.POLL, Reachability.NONE):
            return "waiting until the agent asks for messages"
        return "waiting for the agent's machine"
    return f"got as far as {state}"


def _timeline(message: Message, found: list[Receipt]) -> list[render.Json]:
    entries: list[tuple[int, str, str | None, str | None]] = [
        (message.created_at, "created", message.sender, None)
    ]
    if message.held_reason:
        entries.append((message.created_at, "held", None, message.held_reason))
    for at, event, agent_id in (
        (message.released_at, "let_through", None),
        (message.claimed_at, "claimed", message.claim_agent),
        (message.completed_at, "completed", message.claim_agent),
    ):
        if at is not None:
            entries.append((at, event, agent_id, None))
    for receipt in found:
        for event, field in _STEPS:
            at = getattr(receipt, field)
            if at is not None:
                detail = receipt.via if event != "routed" else None
                entries.append((at, event, receipt.agent_id, detail))
    order: dict[str, int] = {event: number for number, (event, _) in enumerate(_STEPS)}
    entries.sort(key=lambda entry: (entry[0], order.get(entry[1], -1)))
    return [_entry(*entry) for entry in entries]


def _entry(at: int, event: str, agent_id: str | None, detail: str | None) -> dict[str, Any]:
    return {
        "at": render.time_json(at),
        "event": event,
        "agentId": agent_id,
        "detail": detail,
    }
