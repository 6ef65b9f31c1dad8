"""Questions of sessions to a person: asked, answered once, waited for, given up.

Events (`approval.requested`, `.decided`, `.expired`, `.canceled`) and the session's streams hear of
each change after its commit. Reading never writes: an approval past its time is shown as expired,
and the sweeper writes it down.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from relay_server.domain import approval as rules
from relay_server.domain.access import Principal
from relay_server.domain.approval import Approval
from relay_server.errors import Conflict, NotFound
from relay_server.services import lookup, render, waiting
from relay_server.services.core import Core
from relay_server.services.live import Topic
from relay_server.store import agents, approvals
from relay_server.store.database import Reader, Transaction
from relay_server.wire import ApprovalStatus, Decision

DEFAULT_EXPIRY_SECONDS: Final = 600


class ApprovalService:
    """Thread-safe; the writer lock makes each decision the only one."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- the session's side

    def create(self, given: Mapping[str, Any], instance: str | None) -> render.Json:
        """Ask. Raises: NotFound `agent_not_found`, Conflict `stale_instance`."""
        now = self._core.clock.now_ms()
        seconds = given.get("expiresInSeconds") or DEFAULT_EXPIRY_SECONDS
        asked = given.get("input")
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, given["agentId"], instance)
            approval = Approval(
                id=approvals.next_id(transaction),
                agent_id=agent.id,
                tool=given["tool"],
                summary=given["summary"],
                input=None if asked is None else json.dumps(asked, ensure_ascii=False),
                created_at=now,
                expires_at=now + seconds * 1000,
            )
            approvals.save(transaction, approval)
            answer = render.approval_json(approval)

            def tell() -> None:
                self._core.metrics.approval(approval.status)
                self._core.events.add("approval.requested", approval=answer)

            transaction.on_commit(tell)
        return answer

    def cancel(self, approval_id: int, agent_id: str | None, instance: str | None) -> render.Json:
        """It was answered elsewhere. Raises: NotFound, Conflict."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            before = _require(transaction, approval_id)
            if agent_id not in (None, before.agent_id):
                raise Conflict(f"{agent_id} did not ask for it.", code="not_owner")
            agent = agents.get(transaction, before.agent_id)
            if agent is not None:
                lookup.fence(agent, instance)
            return self._change(transaction, rules.cancel(before, now))

    def cancel_of_agent(self, transaction: Transaction, agent_id: str, now: int) -> None:
        """Its session has ended: nobody waits for these answers."""
        for approval in approvals.pending_of(transaction, agent_id, now):
            self._change(transaction, rules.cancel(approval, now))

    # -- people

    def decide(self, approval_id: int, given: Mapping[str, Any], by: Principal) -> render.Json:
        """Answer it. Raises: NotFound, Conflict `already_decided`."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            decided = rules.decide(
                _require(transaction, approval_id),
                Decision(given["decision"]),
                by.name,
                now,
                reason=given.get("reason"),
                remember=given.get("remember"),
            )
            return self._change(transaction, decided)

    # -- reading

    def get(self, approval_id: int, wait_seconds: float, is_gone: waiting.IsGone) -> render.Json:
        """One; with a wait once it is no longer pending. Raises: NotFound."""

        def look() -> tuple[render.Json, bool]:
            with self._core.database.read() as reader:
                written = _require(reader, approval_id)
            approval = rules.as_of(written, self._core.clock.now_ms())
            return render.approval_json(approval), approval.status is not ApprovalStatus.PENDING

        return waiting.until(self._core, _topic(approval_id), look, wait_seconds, is_gone)

    def find(self, filters: approvals.Filters, limit: int) -> list[render.Json]:
        """Newest first."""
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            found = approvals.find(reader, filters, now, limit)
        return [render.approval_json(rules.as_of(approval, now)) for approval in found]

    # -- the sweeper's

    def expire(self, transaction: Transaction, now: int, most: int) -> bool:
        """Write down some of those that nobody answered in time; whether there may be more."""
        overdue = approvals.overdue(transaction, now, most)
        for approval in overdue:
            self._change(transaction, rules.as_of(approval, now))
        return len(overdue) == most

    # -- changing

    def _change(self, transaction: Transaction, approval: Approval) -> render.Json:
        approvals.save(transaction, approval)
        answer = render.approval_json(approval)
        core = self._core

        def tell() -> None:
            core.metrics.approval(approval.status)
            core.listeners.changed(_topic(approval.id))
            told = {"agentId": approval.agent_id, "approval": answer}
            core.listeners.notify(approval.agent_id, "approval", told)
            core.events.add(_EVENT[approval.status], approval=answer)

        transaction.on_commit(tell)
        return answer


_EVENT: Final = {
    ApprovalStatus.ALLOWED: "approval.decided",
    ApprovalStatus.DENIED: "approval.decided",
    ApprovalStatus.EXPIRED: "approval.expired",
    ApprovalStatus.CANCELED: "approval.canceled",
}


def _topic(approval_id: int) -> Topic:
    return ("approval", approval_id)


def _require(reader: Reader, approval_id: int) -> Approval:
    approval = approvals.get(reader, approval_id)
    if approval is None:
        raise NotFound(f"There is no approval {approval_id}.", code="approval_not_found")
    return approval
