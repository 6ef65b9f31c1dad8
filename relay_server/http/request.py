"""Reading requests: a JSON body, an id in the path, an idempotency key."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import falcon

from relay_server.errors import BadSyntax, InvalidRequest, PayloadTooLarge, UnsupportedMedia
from relay_server.http.fields import FieldError, Schema, is_unstorable
from relay_server.http.query import MAX_ID
from relay_server.http.schemas import IDEMPOTENCY_KEY
from relay_server.wire import MAX_REQUEST_BYTES


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name given twice means different things to different readers: refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)
# What is kept is rendered again inside of others, where the encoder's own limit comes sooner.
_DEEPEST: Final = 100
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
NO_BODY: Final[Mapping[str, Any]] = {}


def body_of(request: falcon.Request, schema: Schema | None) -> Mapping[str, Any]:
    """The checked JSON object.

    Raises: BadSyntax, UnsupportedMedia, PayloadTooLarge, InvalidRequest.
    """
    if schema is None:
        return NO_BODY
    return schema.parse(parsed(raw_of(request), request.content_type))


def raw_of(request: falcon.Request) -> bytes:
    """The body's bytes as they came. Raises: PayloadTooLarge."""
    length = request.content_length or 0
    if length > MAX_REQUEST_BYTES:
        raise PayloadTooLarge(f"A request has at most {MAX_REQUEST_BYTES} bytes.")
    return request.bounded_stream.read(length) if length else b""


def parsed(raw: bytes, content_type: str | None) -> Any:
    """The JSON of the body; an absent body is an empty object.

    Raises: BadSyntax, UnsupportedMedia, InvalidRequest.
    """
    if not raw:
        # `curl -d ''` declares a form and sends nothing.
        return {}
    if content_type is None or not _is_json(content_type):
        raise UnsupportedMedia("The body must be application/json.")
    if not raw.strip():
        return {}
    try:
        text = raw.decode()
        # An escaped surrogate or NUL is the only way for either into a parsed text.
        suspicious = "\\u" in text
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise BadSyntax("The body is not valid JSON in UTF-8.") from None
    # Counting is cheap, and few bodies have so many brackets.
    has_many = text.count("[") + text.count("{") > _DEEPEST
    if has_many and _holds(found) and _is_deeper(found):
        raise BadSyntax(f"The body is nested more than {_DEEPEST} levels deep.")
    if suspicious and (field := _unstorable(found)) is not None:
        raise InvalidRequest.of([(field, "holds a character that cannot be stored")])
    return found


def _is_deeper(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for children in inside for child in children if _holds(child)]
        if not level:
            return False
    return True


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


def _is_json(content_type: str) -> bool:
    if content_type == "application/json":
        return True
    media, *parameters = content_type.lower().replace('"', "").split(";")
    charsets = {p.strip() for p in parameters if p.strip().startswith("charset=")}
    return media.strip() == "application/json" and charsets <= {"charset=utf-8", "charset=utf8"}


def _unstorable(value: Any) -> str | None:
    """Where a NUL or half a surrogate pair is: the top field's name, or an empty text."""
    if not isinstance(value, dict):
        return "" if is_unstorable(value) else None
    for name, item in value.items():
        if is_unstorable(name):
            return ""
        if is_unstorable(item):
            return str(name)
    return None


def path_id(text: str) -> int | None:
    """The id in a path; None when nothing can have that id."""
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def idempotency_key(request: falcon.Request, in_body: str | None) -> str | None:
    """From the header or the body; they must not contradict each other."""
    header = checked_key("Idempotency-Key", request.env.get("HTTP_IDEMPOTENCY_KEY"))
    if header is None:
        return in_body
    if in_body is not None and in_body != header:
        raise InvalidRequest.of([("idempotencyKey", "differs from the Idempotency-Key header")])
    return header


def checked_key(name: str, value: str | None) -> str | None:
    """A header that serves as a key, if it is there. Raises: InvalidRequest."""
    try:
        return None if value is None else IDEMPOTENCY_KEY.check(value)
    except FieldError as error:
        raise InvalidRequest.of([(name, str(error))]) from None
