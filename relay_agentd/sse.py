"""Server-Sent Events, parsed: pure, fed with bytes, no I/O."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream."""

    type: str
    data: str
    id: str | None = None

    def object(self) -> dict[str, Any]:
        """The JSON object it carries; an empty one when it carries none."""
        try:
            value = json.loads(self.data)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(slots=True)
class EventParser:
    """Feed it the body as it comes; lines end at \\n only, since data may hold what Unicode or
    `str.splitlines` also call a line's end."""

    _rest: bytes = b""
    _type: str = ""
    _data: list[str] = field(default_factory=list)
    _id: str | None = None

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take a piece of the body; the events it completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        decoded = (line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines)
        return [event for line in decoded if (event := self._take(line)) is not None]

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        return None

    def _complete(self) -> ServerEvent | None:
        # As the standard says: no data, no event; the id belongs to this event alone for us.
        event = (
            ServerEvent(self._type or "message", "\n".join(self._data), self._id)
            if self._data
            else None
        )
        self._type, self._data, self._id = "", [], None
        return event
