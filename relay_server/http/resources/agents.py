"""/api/agents, /api/heartbeats."""

from typing import Final

from falcon import Request, Response

from relay_server.http import request as requests
from relay_server.http import schemas
from relay_server.http.answer import send, send_nothing
from relay_server.services.agents import AgentService
from relay_server.services.idempotency import IdempotencyService
from relay_server.services.receipts import ReceiptService
from relay_server.wire import MAX_LIST_LIMIT, REPLAYED_HEADER, AgentStatus

_FILTERS: Final = ("tag", "capability", "machine", "provider", "project", "label")


class Agents:
    """Registering and listing."""

    def __init__(self, service: AgentService, idempotency: IdempotencyService) -> None:
        self._service = service
        self._idempotency = idempotency

    def on_post(self, request: Request, response: Response) -> None:
        given = requests.body(request, schemas.REGISTER)
        if given.get("instanceId") is None and requests.instance(request):
            given["instanceId"] = requests.instance(request)

        def register() -> tuple[int, object]:
            agent, is_new = self._service.register(given)
            return (201 if is_new else 200), agent

        key = requests.idempotency_key(request, None)
        outcome = self._idempotency.once(given["id"], key, given, register)
        response.status = outcome.status
        response.data = outcome.body
        if outcome.is_replay:
            response.set_header(REPLAYED_HEADER, "true")

    def on_get(self, request: Request, response: Response) -> None:
        query = requests.Query(request, (*_FILTERS, "status", "q", "limit"))
        filters = {name: value for name in _FILTERS if (value := query.text(name)) is not None}
        status = query.choice("status", AgentStatus)
        if status is not None:
            filters["status"] = status
        # The list has no pages: without a limit it is complete.
        most = query.integer("limit", 1, MAX_LIST_LIMIT)
        send(response, {"agents": self._service.find(filters, query.text("q"), most)})


class Agent:
    """One agent."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response, agent_id: str) -> None:
        requests.Query(request, ())
        send(response, self._service.get(agent_id))

    def on_patch(self, request: Request, response: Response, agent_id: str) -> None:
        given = requests.body(request, schemas.PATCH_AGENT)
        instance = requests.instance(request)
        send(response, self._service.patch(agent_id, given, instance))

    def on_delete(self, request: Request, response: Response, agent_id: str) -> None:
        self._service.remove(agent_id, requests.instance(request))
        send_nothing(response)


class AgentStatusPath:
    """What it is doing."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def on_patch(self, request: Request, response: Response, agent_id: str) -> None:
        given = requests.body(request, schemas.STATUS)
        instance = requests.instance(request)
        agent = self._service.set_status(
            agent_id, given["status"], given.get("statusDetail"), instance
        )
        send(response, agent)


class Heartbeat:
    """It lives."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def on_post(self, request: Request, response: Response, agent_id: str) -> None:
        requests.body(request, schemas.NOTHING)
        send(response, self._service.heartbeat(agent_id, requests.instance(request)))


class Ack:
    """How far messages got."""

    def __init__(self, service: ReceiptService) -> None:
        self._service = service

    def on_post(self, request: Request, response: Response, agent_id: str) -> None:
        given = requests.body(request, schemas.ACK)
        instance = requests.instance(request)
        send(response, self._service.ack(agent_id, given["receipts"], instance))


class Heartbeats:
    """A whole machine's sessions."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def on_post(self, request: Request, response: Response) -> None:
        given = requests.body(request, schemas.HEARTBEATS)
        known, unknown = self._service.heartbeats(given["agents"], given.get("machine"))
        send(response, {"known": known, "unknown": unknown})
