"""What the API answers, as JSON Schema. `services/render*.py` makes it; tests compare both.

Each shape is complete: its fields are all there in every answer, and there are no others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from relay_server.domain.callback import AttemptError
from relay_server.http.fields import nullable
from relay_server.wire import (
    AgentStatus,
    ApprovalMode,
    ApprovalStatus,
    CallbackStatus,
    CommandKind,
    CommandStatus,
    Decision,
    IntegrationScope,
    Priority,
    Reachability,
    ReceiptState,
    TaskStatus,
    TokenScope,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """A named schema of the OpenAPI page."""

    name: str
    schema: Json

    def check(self, value: Any) -> Any:
        """Answers are ours: nothing checks them while the server runs."""
        return value

    def describe(self) -> Json:
        """A reference to it."""
        return {"$ref": f"#/components/schemas/{self.name}"}


TEXT: Final[Json] = {"type": "string"}
WHOLE: Final[Json] = {"type": "integer"}
ID: Final[Json] = {"type": "integer", "minimum": 1}
TRUTH: Final[Json] = {"type": "boolean"}
TIME: Final[Json] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
}
OBJECT: Final[Json] = {"type": "object"}
ANY: Final[Json] = {}


def record(**fields: Json) -> Json:
    """An object with exactly these fields."""
    properties = {name.rstrip("_"): schema for name, schema in fields.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def maybe(schema: Json) -> Json:
    """It, or null."""
    return nullable(schema)


def words(of: Iterable[str]) -> Json:
    """One of a few words."""
    return {"type": "string", "enum": [str(word) for word in of]}


def listing(schema: Json) -> Json:
    """Any number of them."""
    return {"type": "array", "items": schema}


def with_(shape: Shape, name: str, **fields: Json) -> Shape:
    """A shape with more fields."""
    more = record(**fields)
    return Shape(
        name,
        {
            **shape.schema,
            "properties": {**shape.schema["properties"], **more["properties"]},
            "required": [*shape.schema["required"], *more["required"]],
        },
    )


_COUNT: Final[Json] = {"type": "integer", "minimum": 0}

PROBLEM: Final = Shape(
    "Problem",
    {
        "type": "object",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": WHOLE,
            "detail": TEXT,
            "code": {"type": "string", "pattern": "^[a-z_]+$"},
            "errors": listing(record(field=TEXT, message=TEXT)),
            "suggestions": listing(TEXT),
            "claimedBy": maybe(TEXT),
        },
        "required": ["type", "title", "status", "detail", "code"],
    },
)
AGENT: Final = Shape(
    "Agent",
    record(
        id=TEXT,
        name=TEXT,
        label=maybe(TEXT),
        machine=maybe(TEXT),
        provider=maybe(TEXT),
        rig=maybe(TEXT),
        project=maybe(TEXT),
        sessionId=maybe(TEXT),
        cwd=maybe(TEXT),
        pid=maybe(WHOLE),
        tags=listing(TEXT),
        capabilities=listing(TEXT),
        channels=listing(TEXT),
        status=words(AgentStatus),
        statusDetail=maybe(TEXT),
        approvalMode=words(ApprovalMode),
        reachability=words(Reachability),
        lastProofAt=maybe(TIME),
        instanceId=maybe(TEXT),
        epoch=WHOLE,
        version=maybe(TEXT),
        meta=OBJECT,
        builtIn=TRUTH,
        cursor=_COUNT,
        unread=_COUNT,
        registeredAt=maybe(TIME),
        lastSeenAt=maybe(TIME),
    ),
)
CLAIM: Final = record(agentId=TEXT, claimedAt=TIME, expiresAt=TIME, completedAt=maybe(TIME))
_HELD: Final = maybe(record(reason=TEXT))
MESSAGE: Final = Shape(
    "Message",
    record(
        id=ID,
        from_=TEXT,
        to=TEXT,
        body=TEXT,
        subject=maybe(TEXT),
        channel=maybe(TEXT),
        replyTo=maybe(ID),
        threadId=ID,
        kind=TEXT,
        priority=words(Priority),
        claimable=TRUTH,
        claim=maybe(CLAIM),
        payload=maybe(OBJECT),
        recipients=_COUNT,
        held=_HELD,
        createdAt=TIME,
        expiresAt=maybe(TIME),
    ),
)
RECEIPT: Final = Shape(
    "Receipt",
    record(
        agentId=TEXT,
        state=words(ReceiptState),
        routedAt=maybe(TIME),
        handedAt=maybe(TIME),
        inContextAt=maybe(TIME),
        readAt=maybe(TIME),
        repliedAt=maybe(TIME),
        via=maybe(TEXT),
        detail=maybe(TEXT),
        attempts=_COUNT,
    ),
)
_RECEIPTS: Final = listing(RECEIPT.describe())
_WITH_RECEIPTS: Final = with_(MESSAGE, "", receipts=_RECEIPTS).schema
MESSAGE_WITH_RECEIPTS: Final = Shape(
    "MessageWithReceipts",
    {**_WITH_RECEIPTS, "properties": {**_WITH_RECEIPTS["properties"], "reached": TRUTH}},
)
CANDIDATE: Final = Shape(
    "Candidate",
    record(
        agentId=TEXT,
        matched=TRUTH,
        why=TEXT,
        status=words(AgentStatus),
        reachability=words(Reachability),
        receipt=maybe(RECEIPT.describe()),
    ),
)
EXPLANATION: Final = Shape(
    "Explanation",
    record(
        message=MESSAGE.describe(),
        candidates=listing(CANDIDATE.describe()),
        held=_HELD,
        timeline=listing(record(at=TIME, event=TEXT, agentId=maybe(TEXT), detail=maybe(TEXT))),
    ),
)
TASK: Final = Shape(
    "Task",
    record(
        id=ID,
        source=TEXT,
        dedupeKey=maybe(TEXT),
        title=TEXT,
        body=maybe(TEXT),
        severity=maybe(TEXT),
        target=TEXT,
        channel=maybe(TEXT),
        status=words(TaskStatus),
        claimedBy=maybe(TEXT),
        leaseExpiresAt=maybe(TIME),
        progress=maybe({"type": "integer", "minimum": 0, "maximum": 100}),
        result=ANY,
        externalUrl=maybe(TEXT),
        metadata=OBJECT,
        occurrenceCount=ID,
        messageId=maybe(ID),
        createdAt=TIME,
        firstSeenAt=TIME,
        lastSeenAt=TIME,
        updatedAt=TIME,
    ),
)
TASK_EVENT: Final = Shape(
    "TaskEvent",
    record(
        id=ID,
        taskId=ID,
        type=TEXT,
        at=TIME,
        actor=maybe(TEXT),
        status=words(TaskStatus),
        detail=OBJECT,
    ),
)
CALLBACK: Final = Shape(
    "Callback",
    record(
        id=ID,
        deliveryId=TEXT,
        event=TEXT,
        status=words(CallbackStatus),
        attempts=listing(
            record(
                number=ID,
                at=TIME,
                statusCode=maybe(WHOLE),
                error=maybe(words(AttemptError)),
                durationMs=_COUNT,
            )
        ),
        createdAt=TIME,
        nextAttemptAt=maybe(TIME),
        endedAt=maybe(TIME),
    ),
)
REPORTED: Final = Shape(
    "ReportedTask", record(task=maybe(TASK.describe()), created=TRUTH, deduped=TRUTH)
)
_RESULTS: Final = listing(REPORTED.describe())
RECEIVED: Final = Shape("ReceivedDelivery", record(results=_RESULTS))
RECEIVED_OR_IGNORED: Final = Shape(
    "ReceivedOrIgnoredDelivery", record(results=_RESULTS, ignored=maybe(TEXT))
)
MACHINE: Final = Shape(
    "Machine",
    record(
        id=TEXT,
        hostname=maybe(TEXT),
        os=maybe(TEXT),
        version=maybe(TEXT),
        providers=maybe({"type": "array"}),
        addresses=maybe(listing(TEXT)),
        load=ANY,
        memory=ANY,
        launchRoots=maybe(listing(TEXT)),
        status=words(("online", "offline")),
        registeredAt=TIME,
        lastSeenAt=TIME,
    ),
)
STATS: Final = Shape(
    "Stats",
    record(
        version=TEXT,
        startedAt=TIME,
        uptimeSeconds=_COUNT,
        agents=record(total=_COUNT, online=_COUNT, busy=_COUNT, idle=_COUNT, offline=_COUNT),
        messages=record(total=_COUNT, last24h=_COUNT, unclaimed=_COUNT),
        tasks=record(byStatus={"type": "object", "additionalProperties": _COUNT}),
        approvals=record(pending=_COUNT),
        machines=record(total=_COUNT, online=_COUNT),
        streams=record(open=_COUNT, limit=_COUNT),
        database=record(engine=TEXT, bytes=_COUNT),
    ),
)
HEALTH: Final = Shape("Health", record(status={"const": "ok"}, version=TEXT))


def envelope(name: str, of: Shape, **more: Json) -> Shape:
    """`{agents: [...]}` and what paging needs."""
    return Shape(f"{of.name}List", record(**{name: listing(of.describe())}, **more))


AGENTS: Final = envelope("agents", AGENT)
MESSAGES: Final = envelope("messages", MESSAGE, cursor=maybe(WHOLE), more=TRUTH)
TASKS: Final = envelope("tasks", TASK, more=TRUTH)
TASK_EVENTS: Final = envelope("events", TASK_EVENT)
CALLBACKS: Final = envelope("callbacks", CALLBACK)
MACHINES: Final = envelope("machines", MACHINE)
CANDIDATES: Final = envelope("candidates", CANDIDATE)
KNOWN: Final = Shape("KnownAgents", record(known=listing(TEXT), unknown=listing(TEXT)))
ACKED: Final = Shape("Acknowledged", record(agentId=TEXT, cursor=_COUNT, unknown=listing(ID)))
STREAM: Final = Shape(
    "StreamChange", record(streamId=TEXT, agents=listing(TEXT), unknown=listing(TEXT))
)
APPROVAL: Final = Shape(
    "Approval",
    record(
        id=ID,
        agentId=TEXT,
        tool=TEXT,
        summary=TEXT,
        input=maybe(OBJECT),
        status=words(ApprovalStatus),
        decision=maybe(words(Decision)),
        reason=maybe(TEXT),
        remember=maybe(words(("session",))),
        decidedBy=maybe(TEXT),
        createdAt=TIME,
        expiresAt=TIME,
        decidedAt=maybe(TIME),
    ),
)
COMMAND: Final = Shape(
    "Command",
    record(
        id=ID,
        machine=TEXT,
        kind=words(CommandKind),
        agentId=maybe(TEXT),
        input=OBJECT,
        status=words(CommandStatus),
        detail=maybe(TEXT),
        result=ANY,
        requestedBy=TEXT,
        createdAt=TIME,
        updatedAt=TIME,
    ),
)
TOKEN: Final = Shape(
    "Token",
    record(
        id=ID,
        name=TEXT,
        scope=words(TokenScope),
        machine=maybe(TEXT),
        expiresAt=maybe(TIME),
        createdAt=TIME,
        lastUsedAt=maybe(TIME),
    ),
)
INTEGRATION: Final = Shape(
    "Integration",
    record(
        name=TEXT,
        scopes=listing(words(IntegrationScope)),
        targets=maybe(listing(TEXT)),
        channels=maybe(listing(TEXT)),
        callbackUrl=maybe(TEXT),
        hasCallbackSecret=TRUTH,
        hasWebhookSecret=TRUTH,
        origin=words(("settings", "database")),
        createdAt=maybe(TIME),
    ),
)
APPROVALS: Final = envelope("approvals", APPROVAL)
COMMANDS: Final = envelope("commands", COMMAND)
OUTPUT: Final = Shape("Output", record(agentId=TEXT, lines=listing(TEXT)))
