"""The contract's request objects and query strings, one definition each."""

import re
from typing import Final

from relay_server.domain import routing
from relay_server.domain.command import REPORTABLE as COMMAND_STEPS
from relay_server.domain.integration import (
    INTEGRATION_NAME,
    MAX_LISTED,
    MAX_SECRET,
    MAX_URL,
    SECRET,
)
from relay_server.domain.launch import ABSOLUTE_PATH
from relay_server.domain.receipt import REPORTABLE
from relay_server.domain.routing import AGENT_ID, MAX_LABEL, NAME
from relay_server.domain.task import RESOLVED
from relay_server.domain.token import MAX_MACHINE
from relay_server.domain.token import MAX_NAME as MAX_TOKEN_NAME
from relay_server.http.fields import (
    AnyJson,
    Boolean,
    Choice,
    Either,
    Field,
    ForeignObject,
    Integer,
    ListOf,
    Moment,
    Pattern,
    Schema,
    Text,
)
from relay_server.http.query import MAX_ID
from relay_server.wire import (
    MAX_BODY_BYTES,
    AgentStatus,
    ApprovalMode,
    Decision,
    IntegrationScope,
    Priority,
    Reachability,
    TaskStatus,
    TokenScope,
)

_MAX_NAMES: Final = 64
_MAX_AGENTS: Final = 1000
_TEN_YEARS: Final = 10 * 366 * 24 * 3600

AGENT: Final = Pattern(AGENT_ID, "1..128 of A-Za-z0-9._-")
TARGET: Final = Pattern(routing.TARGET, "an agent id, tag:X, cap:X, label:X, broadcast or operator")
_NAME: Final = Pattern(NAME, "1..64 of A-Za-z0-9._/-")
_NAMES: Final = ListOf(_NAME, _MAX_NAMES)
_SHORT: Final = Text(200)
_WORD: Final = Text(64)
_STATUS: Final = Choice(tuple(AgentStatus))
_MODE: Final = Choice(tuple(ApprovalMode))
_KEY: Final = Pattern(re.compile(r"[\x21-\x7e]{1,255}"), "1..255 visible ASCII characters")
IDEMPOTENCY_KEY: Final = _KEY
INSTANCE: Final = Text(128, 1)
ID: Final = Integer(1, MAX_ID)
MACHINE_ID: Final = Pattern(
    re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,200}"), "1..200 visible characters"
)
EVENT_TYPE: Final = Pattern(re.compile(r"[a-z_]+(\.([a-z_]+|\*))?"), "an event's type, as task.*")
_OBJECT: Final = AnyJson(only_objects=True)

REGISTER: Final = Schema(
    {
        "id": Field(AGENT, is_required=True, is_nullable=False),
        "name": Field(_SHORT),
        "label": Field(Text(MAX_LABEL)),
        "machine": Field(_SHORT),
        "provider": Field(_WORD),
        "rig": Field(_WORD),
        "project": Field(_SHORT),
        "sessionId": Field(_SHORT),
        "cwd": Field(Text(4096)),
        "pid": Field(Integer(0, 2**31 - 1)),
        "tags": Field(_NAMES),
        "capabilities": Field(_NAMES),
        "channels": Field(_NAMES),
        "status": Field(_STATUS),
        "statusDetail": Field(_SHORT),
        "approvalMode": Field(_MODE),
        "reachability": Field(Choice(tuple(Reachability))),
        "instanceId": Field(INSTANCE),
        "version": Field(_WORD),
        "meta": Field(_OBJECT),
    }
)
PATCH_AGENT: Final = Schema(
    {
        "label": Field(Text(MAX_LABEL)),
        "tags": Field(_NAMES),
        "capabilities": Field(_NAMES),
        "channels": Field(_NAMES),
        "approvalMode": Field(_MODE, is_nullable=False),
        "meta": Field(_OBJECT),
    }
)
STATUS: Final = Schema(
    {
        "status": Field(_STATUS, is_required=True, is_nullable=False),
        "statusDetail": Field(_SHORT),
    }
)
HEARTBEATS: Final = Schema(
    {
        "agents": Field(
            ListOf(
                Schema(
                    {
                        "id": Field(AGENT, is_required=True, is_nullable=False),
                        "status": Field(_STATUS),
                        "statusDetail": Field(_SHORT),
                    }
                ),
                _MAX_AGENTS,
            ),
            is_required=True,
            is_nullable=False,
        ),
        "machine": Field(Text(200, 1)),
    }
)
NOTHING: Final = Schema({})
FOREIGN: Final = ForeignObject()
SEND: Final = Schema(
    {
        "from": Field(AGENT, is_required=True, is_nullable=False),
        "to": Field(TARGET),
        "body": Field(Text(MAX_BODY_BYTES, 1, in_bytes=True), is_required=True, is_nullable=False),
        "subject": Field(_SHORT),
        "channel": Field(_NAME),
        "replyTo": Field(ID),
        "kind": Field(Pattern(NAME, "1..64 of A-Za-z0-9._/-")),
        "priority": Field(Choice(tuple(Priority))),
        "claimable": Field(Boolean()),
        "payload": Field(_OBJECT),
        "idempotencyKey": Field(_KEY),
        "expiresInSeconds": Field(Integer(1, _TEN_YEARS)),
    }
)
BY_AGENT: Final = Schema({"agentId": Field(AGENT, is_required=True, is_nullable=False)})
CLAIM: Final = Schema({**BY_AGENT.fields, "leaseSeconds": Field(Integer(1, 86400))})
COMPLETE: Final = Schema(
    {
        **BY_AGENT.fields,
        "result": Field(
            Either(
                (Text(MAX_BODY_BYTES, 1, in_bytes=True), _OBJECT),
                "a text of at most 64 KiB or an object",
            )
        ),
    }
)
ACK: Final = Schema(
    {
        "receipts": Field(
            ListOf(
                Schema(
                    {
                        "messageId": Field(ID, is_required=True, is_nullable=False),
                        "state": Field(
                            Choice(tuple(REPORTABLE)), is_required=True, is_nullable=False
                        ),
                        "via": Field(_WORD),
                        "detail": Field(Text(1000)),
                    }
                ),
                500,
            ),
            is_required=True,
            is_nullable=False,
        )
    }
)
STREAM_AGENTS: Final = Schema(
    {"agents": Field(ListOf(AGENT, _MAX_AGENTS), is_required=True, is_nullable=False)}
)
MACHINE: Final = Schema(
    {
        "hostname": Field(_SHORT),
        "os": Field(_SHORT),
        "version": Field(_WORD),
        "providers": Field(ListOf(AnyJson(), 64)),
        "addresses": Field(ListOf(_SHORT, 64)),
        "load": Field(AnyJson()),
        "memory": Field(AnyJson()),
        "launchRoots": Field(ListOf(Text(4096), 64)),
    }
)
LOGIN: Final = Schema({"token": Field(Text(4096), is_required=True, is_nullable=False)})

# People follow it: nothing that runs when it is opened.
_LINK: Final = Pattern(
    re.compile(r"(?i:https?)://[^\x00-\x20\x7f]{1,1990}"), "an http or https address"
)
_NEW_TASK: Final = {
    "dedupeKey": Field(Text(255, 1)),
    "title": Field(Text(200, 1)),
    "body": Field(Text(MAX_BODY_BYTES, in_bytes=True)),
    "severity": Field(_WORD),
    # Only `resolved` means something: it ends the task that has the key.
    "status": Field(Choice(("open", "firing", "triggered", "active", RESOLVED))),
    "target": Field(TARGET),
    "channel": Field(_NAME),
    "externalUrl": Field(_LINK),
    "metadata": Field(_OBJECT),
}
EVENT: Final = Schema(_NEW_TASK)
NEW_TASK: Final = Schema({**_NEW_TASK, "from": Field(AGENT, is_nullable=False)})
TASK_UPDATE: Final = Schema(
    {
        "agentId": Field(AGENT),
        "status": Field(Choice(tuple(TaskStatus)), is_required=True, is_nullable=False),
        "progress": Field(Integer(0, 100)),
        "result": Field(AnyJson()),
        "note": Field(Text(4000)),
    }
)
ASK: Final = Schema(
    {
        "agentId": Field(AGENT, is_required=True, is_nullable=False),
        "tool": Field(Text(200, 1), is_required=True, is_nullable=False),
        "summary": Field(Text(4000, 1), is_required=True, is_nullable=False),
        "input": Field(_OBJECT),
        "expiresInSeconds": Field(Integer(5, 86400)),
    }
)
DECISION: Final = Schema(
    {
        "decision": Field(Choice(tuple(Decision)), is_required=True, is_nullable=False),
        "reason": Field(Text(4000)),
        "remember": Field(Choice(("session",))),
    }
)
CANCEL: Final = Schema({"agentId": Field(AGENT)})
LAUNCH: Final = Schema(
    {
        "provider": Field(Text(64, 1), is_required=True, is_nullable=False),
        "cwd": Field(
            Pattern(ABSOLUTE_PATH, "an absolute path"), is_required=True, is_nullable=False
        ),
        "prompt": Field(Text(MAX_BODY_BYTES, in_bytes=True)),
        "approvalMode": Field(_MODE),
        "label": Field(Text(MAX_LABEL)),
        "tags": Field(_NAMES),
        "args": Field(ListOf(Text(4096), 64)),
    }
)
STOP: Final = Schema({"force": Field(Boolean())})
COMMAND_REPORT: Final = Schema(
    {
        "status": Field(Choice(COMMAND_STEPS), is_required=True, is_nullable=False),
        "agentId": Field(AGENT),
        "detail": Field(Text(4000)),
        "result": Field(AnyJson()),
    }
)
NEW_TOKEN: Final = Schema(
    {
        "name": Field(Text(MAX_TOKEN_NAME, 1), is_required=True, is_nullable=False),
        "scope": Field(Choice(tuple(TokenScope)), is_required=True, is_nullable=False),
        "machine": Field(Text(MAX_MACHINE, 1)),
        "expiresAt": Field(Moment()),
    }
)
INTEGRATION: Final = Pattern(INTEGRATION_NAME, "1..64 of A-Za-z0-9._-")
_SECRET: Final = Pattern(SECRET, f"1..{MAX_SECRET} visible ASCII characters")
NEW_INTEGRATION: Final = Schema(
    {
        "name": Field(INTEGRATION, is_required=True, is_nullable=False),
        "scopes": Field(
            ListOf(Choice(tuple(IntegrationScope)), MAX_LISTED),
            is_required=True,
            is_nullable=False,
        ),
        "targets": Field(ListOf(Text(200, 1), MAX_LISTED)),
        "channels": Field(ListOf(_NAME, MAX_LISTED)),
        "callbackUrl": Field(Text(MAX_URL, 1)),
        "callbackSecret": Field(_SECRET),
        "webhookSecret": Field(_SECRET),
    }
)
