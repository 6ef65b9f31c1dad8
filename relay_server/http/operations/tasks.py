"""/api/tasks, /api/integrations/events: work that comes from outside, from agents, from people."""

from typing import Any, Final

from relay_server.domain.access import Principal
from relay_server.domain.task import Actor
from relay_server.errors import InvalidRequest, NotFound
from relay_server.http import query, schemas, shapes
from relay_server.http.operation import (
    READERS,
    SESSIONS,
    Allowed,
    Call,
    Operation,
    Reply,
    Speaker,
    ok,
)
from relay_server.http.query import Query
from relay_server.services.callbacks import CallbackService
from relay_server.services.sending import parse_to
from relay_server.services.tasks import Maker, TaskService
from relay_server.wire import DEFAULT_LEASE_SECONDS, OPERATOR, SYSTEM, IntegrationScope, TaskStatus

_MISSING: Final = "task_not_found"
_CREATORS: Final[Allowed] = SESSIONS | {IntegrationScope.TASKS_CREATE}
_VIEWERS: Final[Allowed] = READERS | {IntegrationScope.TASKS_READ}
# What reporting may be refused for.
REFUSED: Final = (
    *("agent_not_found", "stale_instance", "sender_forbidden"),
    *("target_forbidden", "channel_forbidden", "rate_limited"),
)
_WORKING: Final = (
    *(_MISSING, "agent_not_found", "stale_instance", "sender_forbidden", "invalid_transition"),
)


class TaskOperations:
    """Handlers of tasks."""

    def __init__(self, tasks: TaskService, callbacks: CallbackService) -> None:
        self._tasks = tasks
        self._callbacks = callbacks

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [*self._reporting(), *self._reading(), *self._working()]

    def _reporting(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/integrations/events",
                name="reportEvent",
                summary="Something happened outside: a new task, one more occurrence, or its end",
                handler=self.report_event,
                allowed=_CREATORS,
                body=schemas.EVENT,
                answers={201: shapes.REPORTED, 200: shapes.REPORTED},
                problems=REFUSED,
                is_creating=True,
            ),
            Operation(
                method="POST",
                path="/api/tasks",
                name="createTask",
                summary="The same from an agent or the dashboard; answers the task",
                handler=self.create,
                allowed=_CREATORS,
                body=schemas.NEW_TASK,
                answers={201: shapes.TASK, 200: shapes.TASK},
                problems=(*REFUSED, _MISSING),
                speaker=Speaker.FROM,
                is_creating=True,
            ),
        ]

    def _reading(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/api/tasks",
                name="listTasks",
                summary="Tasks that match every filter, newest first",
                handler=self.find,
                allowed=_VIEWERS,
                query=Query(
                    {
                        "status": query.choice(TaskStatus),
                        "target": query.of_kind(schemas.TARGET),
                        "channel": query.text(),
                        "source": query.text(),
                        "claimedBy": query.text(),
                        "q": query.text(about="full-text search in title and body"),
                        "before": query.an_id(),
                        "limit": query.limit(),
                    }
                ),
                answers={200: shapes.TASKS},
            ),
            _one("GET", "", "getTask", "One task", self.get, _VIEWERS, {200: shapes.TASK}),
            _one(
                "GET",
                "/events",
                "getTaskEvents",
                "What happened to it, oldest first",
                self.events,
                _VIEWERS,
                {200: shapes.TASK_EVENTS},
            ),
            _one(
                "GET",
                "/callbacks",
                "getTaskCallbacks",
                "What its integration was told, oldest first, and how each attempt went",
                self.callbacks,
                _VIEWERS,
                {200: shapes.CALLBACKS},
                query=Query({"limit": query.limit()}),
            ),
        ]

    def _working(self) -> list[Operation]:
        return [
            _one(
                "POST",
                "/claim",
                "claimTask",
                "Take it, and the message that offers it; by its owner: renew the lease",
                self.claim,
                SESSIONS,
                {200: shapes.TASK},
                problems=(*_WORKING, "already_claimed"),
                body=schemas.CLAIM,
                speaker=Speaker.AGENT,
            ),
            _one(
                "POST",
                "/release",
                "releaseTask",
                "Give it back",
                self.release,
                SESSIONS,
                {200: shapes.TASK},
                problems=(*_WORKING, "not_owner"),
                body=schemas.BY_AGENT,
                speaker=Speaker.AGENT,
            ),
            _one(
                "PATCH",
                "/status",
                "updateTask",
                "How far it is, or its end: by its owner, the operator or its integration",
                self.update,
                SESSIONS | {IntegrationScope.TASKS_UPDATE},
                {200: shapes.TASK},
                problems=(*_WORKING, "not_owner"),
                body=schemas.TASK_UPDATE,
                speaker=Speaker.AGENT,
            ),
        ]

    def report_event(self, call: Call) -> Reply:
        answer = self._tasks.report(maker(call.principal, None), call.body, call.instance)
        return Reply(201 if answer["created"] else 200, answer)

    def create(self, call: Call) -> Reply:
        sender = call.body.get("from")
        answer = self._tasks.report(maker(call.principal, sender), call.body, call.instance)
        if answer["task"] is None:
            raise NotFound("No active task has that dedupeKey.", code=_MISSING)
        return Reply(201 if answer["created"] else 200, answer["task"])

    def find(self, call: Call) -> Reply:
        columns = {"claimedBy": "claimed_by"}
        filters = {
            columns.get(name, name): value
            for name, value in call.query.items()
            if name not in ("q", "limit") and value is not None
        }
        if "target" in filters:
            filters["target"] = parse_to(filters["target"]).address
        viewer = call.principal.integration
        return ok(self._tasks.find(filters, call.query["q"], call.query["limit"], viewer))

    def get(self, call: Call) -> Reply:
        return ok(self._tasks.get(call.path["taskId"], call.principal.integration))

    def events(self, call: Call) -> Reply:
        found = self._tasks.events(call.path["taskId"], call.principal.integration)
        return ok({"events": found})

    def callbacks(self, call: Call) -> Reply:
        task = self._tasks.get(call.path["taskId"], call.principal.integration)
        return ok({"callbacks": self._callbacks.of_task(task["id"], call.query["limit"])})

    def claim(self, call: Call) -> Reply:
        seconds = call.body.get("leaseSeconds") or DEFAULT_LEASE_SECONDS
        agent_id = call.body["agentId"]
        return ok(self._tasks.claim(call.path["taskId"], agent_id, seconds, call.instance))

    def release(self, call: Call) -> Reply:
        return ok(self._tasks.release(call.path["taskId"], call.body["agentId"], call.instance))

    def update(self, call: Call) -> Reply:
        actor = _actor(call)
        return ok(self._tasks.update(call.path["taskId"], actor, call.body, call.instance))


def maker(principal: Principal, sender: str | None) -> Maker:
    """Who reports. A token that says nothing of an agent reports in its own name."""
    if principal.integration is not None:
        return Maker(principal.name, SYSTEM, principal.integration)
    if sender is not None:
        return Maker(sender, sender)
    if principal.is_admin:
        return Maker(OPERATOR, OPERATOR)
    return Maker(f"token:{principal.name}", SYSTEM)


def _actor(call: Call) -> Actor:
    if call.principal.integration is not None:
        # Whatever it says: an integration speaks for nobody but itself.
        return Actor(call.principal.name, is_integration=True)
    named = call.body.get("agentId")
    if named is not None:
        return Actor(named)
    if call.principal.is_admin:
        return Actor(OPERATOR)
    raise InvalidRequest.of([("agentId", "is required")])


def _one(
    method: str,
    verb: str,
    name: str,
    summary: str,
    handler: Any,
    allowed: Allowed,
    answers: dict[int, Any],
    **more: Any,
) -> Operation:
    """An operation on one task."""
    more.setdefault("problems", (_MISSING, "target_forbidden"))
    return Operation(
        method=method,
        path=f"/api/tasks/{{taskId}}{verb}",
        name=name,
        summary=summary,
        handler=handler,
        allowed=allowed,
        answers=answers,
        path_kinds={"taskId": schemas.ID},
        missing=_MISSING,
        **more,
    )
