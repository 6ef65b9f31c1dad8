"""The OpenAPI 3.1 page, made of the operations' own declarations.

What validates a request describes it here, so the page cannot say something else than the server
does; which statuses an operation may answer follows from its problem codes.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from relay_server import __version__
from relay_server.errors import CODES
from relay_server.http import shapes
from relay_server.http.gate import COOKIE
from relay_server.http.operation import Operation, Speaker
from relay_server.http.shapes import PROBLEM, Shape
from relay_server.wire import (
    IDEMPOTENCY_HEADER,
    INSTANCE_HEADER,
    REPLAYED_HEADER,
    TOKEN_HEADER,
    VERSION_HEADER,
    IntegrationScope,
    TokenScope,
)

Json = dict[str, Any]

# What every operation may answer: the gate, the query, a store that is locked.
_ALWAYS: Final = (
    *("malformed_request", "forbidden", "misdirected_request", "invalid_request"),
    *("internal_error", "store_unavailable"),
)
_WITH_TOKEN: Final = ("unauthorized",)
_WITH_BODY: Final = ("payload_too_large", "unsupported_media_type")
_WHEN_CREATING: Final = ("idempotency_mismatch",)
_PATH_NAME: Final = re.compile(r"\{(\w+)\}")
_HEADERS: Final[Json] = {
    "X-Request-Id": {"required": True, "schema": {"type": "string"}},
    VERSION_HEADER: {"required": True, "schema": {"type": "string"}},
}
# What some statuses carry besides.
_MORE_HEADERS: Final[dict[int, Json]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}


def document(operations: Sequence[Operation]) -> Json:
    """The whole page."""
    paths: dict[str, Json] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Agent Relay",
            "version": __version__,
            "description": "Sessions of AI coding agents find each other, talk, hand over work"
            " and ask people for approval. Errors are RFC 9457 problems with a stable `code`."
            " No text may hold U+0000 or half a surrogate pair; a blank parameter counts as"
            " absent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"header": []}, {"cookie": []}],
        "tags": [{"name": area} for area in dict.fromkeys(o.area for o in operations)],
        "paths": dict(paths),
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def codes_of(operation: Operation) -> list[str]:
    """Every problem code it may answer."""
    codes = [*_ALWAYS, *operation.problems]
    if not operation.is_public or "unauthorized" in operation.problems:
        codes += _WITH_TOKEN
    if operation.body is not None:
        codes += _WITH_BODY
    if operation.is_creating:
        codes += _WHEN_CREATING
    if operation.path_kinds:
        codes.append(operation.missing)
    if "{" in operation.path:
        # A slash in a name, encoded or not, makes it another path.
        codes.append("not_found")
    return sorted(set(codes), key=lambda code: (CODES[code].status, code))


def who(operation: Operation) -> str:
    """Whose tokens it takes, in words."""
    return ", ".join(tokens(operation)) or "no token"


def tokens(operation: Operation) -> list[str]:
    """The scopes it takes; none when it needs no token."""
    if operation.is_public:
        return []
    scopes = (*TokenScope, *IntegrationScope)
    return [TokenScope.ADMIN, *(word for word in scopes if word in operation.allowed)]


def _operation(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Tokens: {who(operation)}.",
        "x-tokens": tokens(operation),
        "tags": [operation.area],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.is_public:
        described["security"] = []
    if operation.body is not None:
        schema = operation.body.describe()
        described["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    return described


def _parameters(operation: Operation) -> list[Json]:
    parameters: list[Json] = []
    for name in _PATH_NAME.findall(operation.path):
        kind = operation.path_kinds.get(name)
        schema = kind.describe() if kind is not None else {"type": "string", "minLength": 1}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    if operation.query is not None:
        parameters += [p.describe(name) for name, p in operation.query.parameters.items()]
    if operation.is_creating:
        parameters.append(
            _header(IDEMPOTENCY_HEADER, "the same key gives the first answer again, for a day",
                    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"})
        )  # fmt: skip
    if operation.speaker is not Speaker.NOBODY:
        parameters.append(
            _header(INSTANCE_HEADER, "which run of the agent's process speaks",
                    {"type": "string"})
        )  # fmt: skip
    return parameters


def _header(name: str, about: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": about}


def _responses(operation: Operation) -> Json:
    responses: Json = {}
    for status, shape in operation.answers.items():
        answer: Json = {"description": _MEANINGS[status], "headers": dict(_HEADERS)}
        if shape is not None:
            answer["content"] = {operation.content_type: {"schema": shape.describe()}}
        if operation.is_creating:
            answer["headers"][REPLAYED_HEADER] = {"schema": {"const": "true"}}
        responses[str(status)] = answer
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes_of(operation):
        by_status[CODES[code].status].append(code)
    for status, codes in by_status.items():
        responses[str(status)] = {
            "description": "; ".join(f"`{code}`: {CODES[code].meaning}" for code in codes),
            "headers": {**_HEADERS, **_MORE_HEADERS.get(status, {})},
            "content": {"application/problem+json": {"schema": _problem(status, codes)}},
        }
    return responses


def _problem(status: int, codes: list[str]) -> Json:
    """A problem of this status and one of these codes."""
    narrower = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    return {"allOf": [PROBLEM.describe(), narrower]}


_MEANINGS: Final = {
    200: "Done",
    201: "Created",
    202: "Accepted: a machine carries it out",
    204: "Done; nothing to say",
}


def _schemas(operations: Iterable[Operation]) -> Json:
    """Every shape that is answered, and those it is made of."""
    known = {s.name: s for s in vars(shapes).values() if isinstance(s, Shape)}
    answered = [shape for o in operations for shape in o.answers.values()]
    known |= {shape.name: shape for shape in answered if isinstance(shape, Shape)}
    return {name: known[name].schema for name in sorted(known)}
