"""Reading requests: a JSON body, an id in the path, typed query parameters."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import falcon

from relay_server.errors import BadSyntax, InvalidRequest, PayloadTooLarge, UnsupportedMedia
from relay_server.http.fields import FieldError, Kind, Schema
from relay_server.http.schemas import IDEMPOTENCY_KEY, MAX_ID
from relay_server.wire import (
    DEFAULT_LIST_LIMIT,
    MAX_LIST_LIMIT,
    MAX_REQUEST_BYTES,
    MAX_WAIT_SECONDS,
)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DIGITS: Final = re.compile(r"\d{1,16}")


def body(request: falcon.Request, schema: Schema) -> dict[str, Any]:
    """The checked JSON object.

    Raises: BadSyntax, UnsupportedMedia, PayloadTooLarge, InvalidRequest.
    """
    return schema.parse(document(request))


def document(request: falcon.Request) -> Any:
    """The JSON of the body; an absent body is an empty object."""
    length = request.content_length or 0
    if length > MAX_REQUEST_BYTES:
        raise PayloadTooLarge(f"A request has at most {MAX_REQUEST_BYTES} bytes.")
    raw = request.bounded_stream.read(length) if length else b""
    content_type = request.content_type
    if not raw and content_type is None:
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
    if suspicious and (field := _unstorable(found)) is not None:
        raise InvalidRequest.of([(field, "holds a character that cannot be stored")])
    return found


def _is_json(content_type: str) -> bool:
    if content_type == "application/json":
        return True
    media, _, parameters = content_type.partition(";")
    if media.strip().lower() != "application/json":
        return False
    charset = parameters.strip().lower().replace('"', "")
    return not charset.startswith("charset=") or charset in ("charset=utf-8", "charset=utf8")


def _unstorable(value: Any) -> str | None:
    """Where a NUL or half a surrogate pair is: the top field's name, or an empty text."""
    if not isinstance(value, dict):
        return "" if _is_unstorable(value) else None
    for name, item in value.items():
        if _is_unstorable(name):
            return ""
        if _is_unstorable(item):
            return str(name)
    return None


def _is_unstorable(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value or _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(_is_unstorable(k) or _is_unstorable(v) for k, v in value.items())
    if isinstance(value, list):
        return any(map(_is_unstorable, value))
    return False


def instance(request: falcon.Request) -> str | None:
    """Which run of an agent's process the caller says it is."""
    # Read as WSGI spells it: falcon's own lookup costs a tenth of a whole POST.
    value: str | None = request.env.get("HTTP_X_AGENT_INSTANCE")
    return value


def is_gone(request: falcon.Request) -> Callable[[], bool]:
    """Asks whether the client has closed its connection meanwhile."""
    gone: Callable[[], bool] = request.env.get("waitress.client_disconnected", lambda: False)
    return gone


def cut(request: falcon.Request) -> Callable[[], None]:
    """Ends the connection, whatever its thread is waiting for. See `relay_server.server`."""
    end: Callable[[], None] = request.env.get("relay.cut", lambda: None)
    return end


def path_id(text: str) -> int | None:
    """The id in a path; None when nothing can have that id."""
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def idempotency_key(request: falcon.Request, in_body: str | None) -> str | None:
    """From the header or the body; they must not contradict each other."""
    header = request.env.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return in_body
    try:
        IDEMPOTENCY_KEY.check(header)
    except FieldError as error:
        raise InvalidRequest.of([("Idempotency-Key", str(error))]) from None
    if in_body is not None and in_body != header:
        raise InvalidRequest.of([("idempotencyKey", "differs from the Idempotency-Key header")])
    return str(header)


class Query:
    """A query string whose names are all known; blank values count as absent."""

    def __init__(self, request: falcon.Request, known: Iterable[str]) -> None:
        """Raises: InvalidRequest for an unknown name or an unstorable text."""
        self._values: dict[str, list[str]] = {}
        allowed = frozenset(known)
        errors: list[tuple[str, str]] = []
        for name, value in request.params.items():
            values = value if isinstance(value, list) else [value]
            if name not in allowed:
                errors.append((name[:100], "is not a known parameter"))
            elif any(_is_unstorable(v) or "\ufffd" in v for v in values):
                errors.append((name, "holds a character that cannot be stored"))
            else:
                self._values[name] = [v for v in values if v]
        if errors:
            raise InvalidRequest.of(errors)

    def text(self, name: str, longest: int = 500) -> str | None:
        """One text."""
        values = self._values.get(name)
        if not values:
            return None
        if len(values) > 1:
            raise InvalidRequest.of([(name, "is given more than once")])
        if len(values[0]) > longest:
            raise InvalidRequest.of([(name, f"must not be longer than {longest} characters")])
        return values[0]

    def texts(self, name: str, kind: Kind | None = None) -> list[str]:
        """A repeatable parameter; commas separate too."""
        found = [part for value in self._values.get(name, []) for part in value.split(",") if part]
        if kind is not None:
            for part in found:
                try:
                    kind.check(part)
                except FieldError as error:
                    raise InvalidRequest.of([(name, str(error))]) from None
        return found

    def choice(self, name: str, words: Iterable[str]) -> str | None:
        """One of a few words."""
        value = self.text(name)
        allowed = list(words)
        if value is not None and value not in allowed:
            raise InvalidRequest.of([(name, f"must be one of {', '.join(allowed)}")])
        return value

    def boolean(self, name: str) -> bool | None:
        """`true` or `false`."""
        value = self.choice(name, ("true", "false"))
        return None if value is None else value == "true"

    def integer(self, name: str, least: int, most: int) -> int | None:
        """A whole number in a range."""
        value = self.text(name)
        if value is None:
            return None
        if not _DIGITS.fullmatch(value) or not value.isascii() or not least <= int(value) <= most:
            raise InvalidRequest.of([(name, f"must be an integer, {least}..{most}")])
        return int(value)

    def message_id(self, name: str) -> int | None:
        """An id to compare with."""
        return self.integer(name, 0, MAX_ID)

    def limit(self) -> int:
        """How many entries."""
        return self.integer("limit", 1, MAX_LIST_LIMIT) or DEFAULT_LIST_LIMIT

    def wait(self) -> float:
        """Seconds to wait; fractions are accepted."""
        value = self.text("wait")
        if value is None:
            return 0
        if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", value) or float(value) > MAX_WAIT_SECONDS:
            raise InvalidRequest.of([("wait", f"must be seconds, 0..{MAX_WAIT_SECONDS}")])
        return float(value)
