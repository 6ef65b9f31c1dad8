"""One operation of the API, declared once.

Routing, authorisation, validation, idempotency and the OpenAPI page all follow from the
declaration, so none of them can say something else than the others. Handlers are plain functions
from a `Call` to a `Reply`; they know services, not falcon.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from relay_server.domain.access import Principal
from relay_server.http.fields import Kind, Schema
from relay_server.http.query import NO_QUERY, Query
from relay_server.wire import IntegrationScope, TokenScope

Allowed = frozenset[TokenScope | IntegrationScope]

# Admin tokens may do everything, so they are never named.
OWNER_ONLY: Final[Allowed] = frozenset()
SESSIONS: Final[Allowed] = frozenset({TokenScope.AGENT})
READERS: Final[Allowed] = frozenset({TokenScope.AGENT, TokenScope.READ})


class Speaker(Enum):
    """Where a call names the agent it speaks for. The token must be allowed to."""

    NOBODY = ""
    FROM = "from"
    AGENT = "agentId"
    NEW_AGENT = "id"
    PATH = "path"


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, checked: what the declaration names is there and valid."""

    principal: Principal
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    instance: str | None
    key: str | None
    is_gone: Callable[[], bool]
    cut: Callable[[], None]
    header: Callable[[str], str | None]
    raw: bytes = b""


@dataclass(slots=True)
class Reply:
    """What to answer: a value to render, ready JSON, or frames of a stream with their end."""

    status: int = 200
    value: Any = None
    rendered: bytes | None = None
    frames: Iterator[bytes] | None = None
    on_end: Callable[[], None] = lambda: None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the contract.

    `answers`: the shape of each success status; None where there is no body.
    `problems`: the codes it may answer beyond those every operation has.
    `is_waiting`: its time tells how long something else took, as with `wait` in the query.
    `path_kinds`: the kind of each name in the path; a value of another kind is a 404 with
    `missing` as its code.
    `is_secret`: its answer holds a secret, which is replayed from memory and never kept.
    `is_raw`: the handler gets the body's bytes and parses them itself, after it has checked them.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    allowed: Allowed
    answers: Mapping[int, Kind | None]
    problems: tuple[str, ...] = ()
    body: Schema | None = None
    query: Query | None = NO_QUERY
    path_kinds: Mapping[str, Kind] = field(default_factory=dict)
    missing: str = "not_found"
    speaker: Speaker = Speaker.NOBODY
    is_creating: bool = False
    has_own_idempotency: bool = False
    is_secret: bool = False
    is_public: bool = False
    is_raw: bool = False
    is_waiting: bool = False
    content_type: str = "application/json"

    @property
    def area(self) -> str:
        """`messages` for /api/messages/{messageId}/claim."""
        words = self.path.strip("/").split("/")
        return words[1] if words[0] == "api" and len(words) > 1 else words[0]


def ok(value: Any) -> Reply:
    """200."""
    return Reply(200, value)


def created(value: Any, *, is_new: bool = True) -> Reply:
    """201, or 200 for what was there already."""
    return Reply(201 if is_new else 200, value)


def accepted(value: Any) -> Reply:
    """202."""
    return Reply(202, value)


def nothing(headers: Mapping[str, str] | None = None) -> Reply:
    """204."""
    return Reply(204, headers=headers or {})


def streaming(frames: Iterator[bytes], on_end: Callable[[], None]) -> Reply:
    """Server-sent events; `on_end` gives the place back, whatever happens."""
    return Reply(200, frames=frames, on_end=on_end, content_type="text/event-stream")
