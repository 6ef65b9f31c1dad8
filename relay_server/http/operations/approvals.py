"""/api/approvals: sessions ask, people answer."""

from typing import Any, Final

from relay_server.http import query, schemas, shapes
from relay_server.http.operation import (
    OWNER_ONLY,
    READERS,
    SESSIONS,
    Allowed,
    Call,
    Handler,
    Operation,
    Reply,
    Speaker,
    created,
    ok,
)
from relay_server.services.approvals import ApprovalService
from relay_server.services.voices import Voices
from relay_server.store.approvals import Filters
from relay_server.wire import ApprovalStatus

_MISSING: Final = "approval_not_found"


class ApprovalOperations:
    """Handlers of approvals."""

    def __init__(self, approvals: ApprovalService, voices: Voices) -> None:
        self._approvals = approvals
        self._voices = voices

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [*self._asking_and_listing(), *self._on_one()]

    def _asking_and_listing(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/approvals",
                name="askForApproval",
                summary="A session asks a person; without an answer in time it is a denial",
                handler=lambda call: created(self._approvals.create(call.body, call.instance)),
                allowed=SESSIONS,
                body=schemas.ASK,
                answers={201: shapes.APPROVAL},
                problems=("agent_not_found", "stale_instance", "sender_forbidden"),
                speaker=Speaker.AGENT,
                is_creating=True,
            ),
            Operation(
                method="GET",
                path="/api/approvals",
                name="listApprovals",
                summary="Approvals, newest first",
                handler=self.find,
                allowed=READERS,
                query=query.Query(
                    {
                        "status": query.choice(ApprovalStatus),
                        "agentId": query.text(),
                        "before": query.an_id(),
                        "limit": query.limit(),
                    }
                ),
                answers={200: shapes.APPROVALS},
            ),
        ]

    def _on_one(self) -> list[Operation]:
        return [
            _one(
                "GET",
                "",
                "getApproval",
                "One approval; with `wait`, when it is no longer pending",
                self.get,
                READERS,
                query=query.Query({"wait": query.seconds("how long to wait for an answer")}),
                problems=(_MISSING, "too_many_waits"),
            ),
            _one(
                "POST",
                "/decision",
                "decideApproval",
                "A person answers; `remember` lets the answer hold for the session",
                self.decide,
                OWNER_ONLY,
                body=schemas.DECISION,
                problems=(_MISSING, "already_decided"),
            ),
            _one(
                "POST",
                "/cancel",
                "cancelApproval",
                "Nobody needs the answer any more: it was given at the terminal",
                self.cancel,
                SESSIONS,
                body=schemas.CANCEL,
                problems=(
                    *(_MISSING, "already_decided", "not_owner"),
                    *("stale_instance", "sender_forbidden"),
                ),
                speaker=Speaker.AGENT,
            ),
        ]

    def find(self, call: Call) -> Reply:
        status = call.query["status"]
        filters = Filters(
            status=ApprovalStatus(status) if status else None,
            agent_id=call.query["agentId"],
            before=call.query["before"],
        )
        return ok({"approvals": self._approvals.find(filters, call.query["limit"])})

    def get(self, call: Call) -> Reply:
        wait = call.query["wait"] or 0
        return ok(self._approvals.get(call.path["approvalId"], wait, call.is_gone))

    def decide(self, call: Call) -> Reply:
        return ok(self._approvals.decide(call.path["approvalId"], call.body, call.principal))

    def cancel(self, call: Call) -> Reply:
        approval_id = call.path["approvalId"]
        asked_by = self._approvals.get(approval_id, 0, call.is_gone)["agentId"]
        self._voices.require(call.principal, [asked_by])
        return ok(self._approvals.cancel(approval_id, call.body.get("agentId"), call.instance))


def _one(
    method: str,
    verb: str,
    name: str,
    summary: str,
    handler: Handler,
    allowed: Allowed,
    **more: Any,
) -> Operation:
    """An operation on one approval."""
    return Operation(
        method=method,
        path=f"/api/approvals/{{approvalId}}{verb}",
        name=name,
        summary=summary,
        handler=handler,
        allowed=allowed,
        path_kinds={"approvalId": schemas.ID},
        missing=_MISSING,
        answers={200: shapes.APPROVAL},
        **more,
    )
