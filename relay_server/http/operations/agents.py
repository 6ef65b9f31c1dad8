"""/api/agents, /api/heartbeats: who is there, and proof of life and of delivery."""

from typing import Final

from relay_server.errors import InvalidRequest
from relay_server.http import query, schemas, shapes
from relay_server.http.fields import FieldError
from relay_server.http.operation import (
    READERS,
    SESSIONS,
    Call,
    Operation,
    Reply,
    Speaker,
    created,
    nothing,
    ok,
)
from relay_server.services.agents import AgentService
from relay_server.services.receipts import ReceiptService
from relay_server.services.voices import Voices
from relay_server.wire import INSTANCE_HEADER, MAX_LIST_LIMIT, AgentStatus

_FILTERS: Final = ("tag", "capability", "machine", "provider", "project", "label")
_MISSING: Final = "agent_not_found"


class AgentOperations:
    """Handlers of agents."""

    def __init__(self, agents: AgentService, receipts: ReceiptService, voices: Voices) -> None:
        self._agents = agents
        self._receipts = receipts
        self._voices = voices

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [*self._registry(), *self._on_one(), *self._presence(), self._proof()]

    def _registry(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/agents",
                name="registerAgent",
                summary="Register an agent, or register it again",
                handler=self.register,
                allowed=SESSIONS,
                body=schemas.REGISTER,
                answers={201: shapes.AGENT, 200: shapes.AGENT},
                problems=("sender_forbidden", "stale_instance"),
                speaker=Speaker.NEW_AGENT,
                is_creating=True,
            ),
            Operation(
                method="GET",
                path="/api/agents",
                name="listAgents",
                summary="Agents that match every filter",
                handler=self.find,
                allowed=READERS,
                query=query.Query(
                    {
                        "status": query.choice(AgentStatus),
                        **{name: query.text() for name in _FILTERS},
                        "q": query.text(about="in id, name, label, project or a tag"),
                        "limit": query.integer(
                            1, MAX_LIST_LIMIT, about="all of them unless it is given"
                        ),
                    }
                ),
                answers={200: shapes.AGENTS},
            ),
        ]

    def _on_one(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/api/agents/{agentId}",
                name="getAgent",
                summary="One agent",
                handler=lambda call: ok(self._agents.get(call.path["agentId"])),
                allowed=READERS,
                answers={200: shapes.AGENT},
                problems=(_MISSING,),
            ),
            Operation(
                method="PATCH",
                path="/api/agents/{agentId}",
                name="changeAgent",
                summary="Change label, tags, capabilities, channels, approval mode or meta",
                handler=self.patch,
                allowed=SESSIONS,
                body=schemas.PATCH_AGENT,
                answers={200: shapes.AGENT},
                problems=(_MISSING, "stale_instance", "sender_forbidden", "loosening_forbidden"),
                speaker=Speaker.PATH,
            ),
            Operation(
                method="DELETE",
                path="/api/agents/{agentId}",
                name="removeAgent",
                summary="Forget an agent; its claims are released, its messages stay",
                handler=self.remove,
                allowed=SESSIONS,
                answers={204: None},
                problems=(_MISSING, "stale_instance", "sender_forbidden", "conflict"),
                speaker=Speaker.PATH,
            ),
        ]

    def _presence(self) -> list[Operation]:
        return [
            Operation(
                method="PATCH",
                path="/api/agents/{agentId}/status",
                name="setAgentStatus",
                summary="Say what it is doing; counts as a heartbeat",
                handler=self.set_status,
                allowed=SESSIONS,
                body=schemas.STATUS,
                answers={200: shapes.AGENT},
                problems=(_MISSING, "stale_instance", "sender_forbidden"),
                speaker=Speaker.PATH,
            ),
            Operation(
                method="POST",
                path="/api/agents/{agentId}/heartbeat",
                name="beat",
                summary="A sign of life; 404 tells the client to register again",
                handler=self.heartbeat,
                allowed=SESSIONS,
                body=schemas.NOTHING,
                answers={200: shapes.AGENT},
                problems=(_MISSING, "stale_instance", "sender_forbidden"),
                speaker=Speaker.PATH,
            ),
            Operation(
                method="POST",
                path="/api/heartbeats",
                name="beatForAll",
                summary="One sign of life for a whole machine",
                handler=self.heartbeats,
                allowed=SESSIONS,
                body=schemas.HEARTBEATS,
                answers={200: shapes.KNOWN},
                problems=("sender_forbidden", "stale_instance"),
            ),
        ]

    def _proof(self) -> Operation:
        return Operation(
            method="POST",
            path="/api/agents/{agentId}/ack",
            name="acknowledge",
            summary="How far messages got in a session",
            handler=self.ack,
            allowed=SESSIONS,
            body=schemas.ACK,
            answers={200: shapes.ACKED},
            problems=(_MISSING, "stale_instance", "sender_forbidden"),
            speaker=Speaker.PATH,
        )

    def register(self, call: Call) -> Reply:
        given = self._voices.registration(call.principal, call.body)
        if given.get("instanceId") is None and call.instance:
            given["instanceId"] = _instance(call.instance)
        agent, is_new = self._agents.register(given, may_loosen=call.principal.is_admin)
        return created(agent, is_new=is_new)

    def find(self, call: Call) -> Reply:
        filters = {
            name: value for name in (*_FILTERS, "status") if (value := call.query[name]) is not None
        }
        return ok({"agents": self._agents.find(filters, call.query["q"], call.query["limit"])})

    def patch(self, call: Call) -> Reply:
        agent_id, may_loosen = call.path["agentId"], call.principal.is_admin
        return ok(self._agents.patch(agent_id, call.body, call.instance, may_loosen=may_loosen))

    def remove(self, call: Call) -> Reply:
        self._agents.remove(call.path["agentId"], call.instance)
        return nothing()

    def set_status(self, call: Call) -> Reply:
        status, detail = call.body["status"], call.body.get("statusDetail")
        return ok(self._agents.set_status(call.path["agentId"], status, detail, call.instance))

    def heartbeat(self, call: Call) -> Reply:
        return ok(self._agents.heartbeat(call.path["agentId"], call.instance))

    def ack(self, call: Call) -> Reply:
        return ok(self._receipts.ack(call.path["agentId"], call.body["receipts"], call.instance))

    def heartbeats(self, call: Call) -> Reply:
        reports, machine = call.body["agents"], call.body.get("machine")
        self._voices.require(call.principal, [report["id"] for report in reports])
        self._voices.require_machine(call.principal, machine)
        known, unknown = self._agents.heartbeats(reports, machine, call.instance)
        return ok({"known": known, "unknown": unknown})


def _instance(header: str) -> str:
    """Raises: InvalidRequest."""
    try:
        return schemas.INSTANCE.check(header)
    except FieldError as error:
        raise InvalidRequest.of([(INSTANCE_HEADER, str(error))]) from None
