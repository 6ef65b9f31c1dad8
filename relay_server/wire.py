"""The words of the wire contract: enumerations, limits, header names, and the code to join.

Standard library only; imports nothing of ours. It is the one module of the server that
`relay_agentd` may import, so both sides spell every word the same way.
"""

import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

DEFAULT_PORT: Final = 4850
TOKEN_HEADER: Final = "X-Agent-Relay-Token"  # noqa: S105 - a header's name, not a token
VERSION_HEADER: Final = "X-Agent-Relay-Version"
INSTANCE_HEADER: Final = "X-Agent-Instance"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotency-Replayed"

MAX_REQUEST_BYTES: Final = 1024 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
MAX_LIST_LIMIT: Final = 500
DEFAULT_LIST_LIMIT: Final = 50
MAX_WAIT_SECONDS: Final = 60
DEFAULT_LEASE_SECONDS: Final = 900

OPERATOR: Final = "operator"
SYSTEM: Final = "system"
BROADCAST: Final = "broadcast"
BUILT_IN_AGENTS: Final = (OPERATOR, SYSTEM)
RESERVED_IDS: Final = frozenset({BROADCAST, SYSTEM, OPERATOR})

_JOIN_VERSION: Final = 1


# What `GET /api/events` tells, and what comes with it besides `id`, `type` and `at`.
EVENT_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "agent.registered": ("an agent registered for the first time", "agent"),
    "agent.updated": ("it registered again, or somebody changed it", "agent"),
    "agent.status": ("its status or the detail of it changed", "agent"),
    "agent.offline": ("it went silent, or said that it has ended", "agent"),
    "agent.removed": ("it was removed, or pruned after a long absence", "agentId"),
    "message.created": ("a message was accepted", "message"),
    "message.held": ("the loop guard stopped it; an operator delivers or deletes it", "message"),
    "message.claimed": ("an agent has taken it", "message"),
    "message.released": ("its claim ended, or an operator let it through", "message"),
    "message.completed": ("its work is done", "message"),
    "message.receipt": ("it got further with one receiver", "messageId, agentId, receipt"),
    "message.deleted": ("it was deleted", "messageId"),
    "task.created": ("a task was reported", "task"),
    "task.deduped": ("it was reported again while it is active", "task"),
    "task.claimed": ("an agent has taken it", "task"),
    "task.released": ("its claim ended", "task"),
    "task.status": ("its status or progress changed, or it ended", "task"),
    "approval.requested": ("a session asks a person", "approval"),
    "approval.decided": ("a person has answered", "approval"),
    "approval.expired": ("nobody answered in time: denied", "approval"),
    "approval.canceled": ("its session does not wait for it any more", "approval"),
    "machine.online": ("a machine's daemon reported for the first time, or again", "machine"),
    "machine.offline": ("a machine's daemon has gone silent", "machine"),
    "session.requested": ("a session is to be started or stopped on a machine", "command"),
    "session.updated": ("how far the machine got with that", "command"),
}


class AgentStatus(StrEnum):
    """What an agent is doing now."""

    IDLE = "idle"
    BUSY = "busy"
    WAITING = "waiting"
    OFFLINE = "offline"


class ApprovalMode(StrEnum):
    """What a session may do without asking a person."""

    OPEN = "open"
    GUARDED = "guarded"
    READ_ONLY = "read-only"


class Reachability(StrEnum):
    """How a message gets into a session."""

    PUSH = "push"
    BOUNDARY = "boundary"
    POLL = "poll"
    NONE = "none"


class Priority(StrEnum):
    """How urgent a message is; `urgent` may steer a running turn."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class ReceiptState(StrEnum):
    """How far one message got with one receiver; states only move forward."""

    STORED = "stored"
    ROUTED = "routed"
    HANDED = "handed"
    IN_CONTEXT = "in_context"
    READ = "read"
    REPLIED = "replied"
    HELD = "held"
    FAILED = "failed"
    EXPIRED = "expired"


class TaskStatus(StrEnum):
    """Where the work on a task stands; see `relay_server.domain.task` for the ways between."""

    OPEN = "open"
    CLAIMED = "claimed"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


class CallbackStatus(StrEnum):
    """Whether an integration has been told of a change to its task."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class ApprovalStatus(StrEnum):
    """Whether a person has answered what a session asked."""

    PENDING = "pending"
    ALLOWED = "allowed"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Decision(StrEnum):
    """A person's answer to an approval."""

    ALLOW = "allow"
    DENY = "deny"


class CommandStatus(StrEnum):
    """How far a machine got with what the relay asked of it."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"


class CommandKind(StrEnum):
    """What the relay may ask of a machine."""

    LAUNCH = "launch"
    STOP = "stop"
    LOGS = "logs"


class TokenScope(StrEnum):
    """What the bearer of a token may do."""

    ADMIN = "admin"
    AGENT = "agent"
    READ = "read"


class IntegrationScope(StrEnum):
    """What an integration's token reaches."""

    TASKS_CREATE = "tasks:create"
    TASKS_READ = "tasks:read"
    TASKS_UPDATE = "tasks:update"


def join_code(url: str, token: str) -> str:
    """What `relay-server invite` prints and `relay-agentd join` takes; a secret as the token is."""
    told = json.dumps({"v": _JOIN_VERSION, "url": url, "token": token}, separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def read_join_code(code: str) -> tuple[str, str]:
    """URL and token. Raises: ValueError with a sentence that shows nothing of the code."""
    code = code.strip()
    try:
        told = json.loads(base64.b64decode(code + "=" * (-len(code) % 4), b"-_", validate=True))
        version = told["v"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("this is not a join code, or not all of it") from None
    if version != _JOIN_VERSION:
        raise ValueError("this join code is of another version; upgrade agent-relay")
    url, token = told.get("url"), told.get("token")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ValueError("this join code names no relay")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise ValueError("this join code holds no token")
    return url, token
