"""Reading what a third party sent, and cutting it to our limits.

Tolerant of what is missing or new, because third parties add fields; strict about types, with
a problem that names the field. An empty text counts as missing: products send both.
"""

from collections.abc import Iterable
from typing import Any, Final

from relay_server.errors import InvalidRequest
from relay_server.wire import MAX_BODY_BYTES

MAX_TITLE: Final = 200
MAX_URL: Final = 2000
_CUT: Final = "…"
_CUT_BODY: Final = "\n… (cut: longer than 64 KiB)"

Event = dict[str, Any]


class Part:
    """One object of a payload, and where it stands there. Raises: InvalidRequest, always."""

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            raise _problem(path, "must be an object")
        self._value = value
        self._path = path

    def text(self, name: str) -> str | None:
        """A text, or None when there is none."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, str):
            raise self.problem(name, "must be a string")
        return value or None

    def required_text(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise self.problem(name, "is required")
        return value

    def required_integer(self, name: str) -> int:
        """A whole number that must be there."""
        value = self._value.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.problem(name, "is required and must be an integer")
        return value

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts; a missing one is empty."""
        part = self.part(name)
        return {key: part.text(key) or "" for key in part.names()}

    def part(self, name: str) -> "Part":
        """An object; a missing one is empty."""
        value = self._value.get(name)
        return Part({} if value is None else value, self._at(name))

    def parts(self, name: str) -> "list[Part]":
        """A list of objects; a missing one is empty."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, list):
            raise self.problem(name, "must be a list")
        return [Part(each, f"{self._at(name)}[{at}]") for at, each in enumerate(value or ())]

    def names(self) -> Iterable[str]:
        """The fields that are there."""
        return self._value.keys()

    def problem(self, name: str, message: str) -> InvalidRequest:
        """What to raise about one of its fields."""
        return _problem(self._at(name), message)

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def cut_title(text: str) -> str:
    """One line of at most 200 characters; what was cut shows."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TITLE else line[: MAX_TITLE - len(_CUT)] + _CUT


def cut_body(text: str) -> str:
    """At most 64 KiB of UTF-8, cut between characters; what was cut shows."""
    raw = text.encode()
    if len(raw) <= MAX_BODY_BYTES:
        return text
    return raw[: MAX_BODY_BYTES - len(_CUT_BODY.encode())].decode(errors="ignore") + _CUT_BODY


def link(text: str | None) -> str | None:
    """A link that people may follow; what is none, or too long for one, is left out."""
    is_link = text is not None and text.startswith(("http://", "https://"))
    return text if is_link and len(text or "") <= MAX_URL else None


def given(**fields: Any) -> Event:
    """The event with only those fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _problem(path: str, message: str) -> InvalidRequest:
    return InvalidRequest.of([(path[:100], message)])
