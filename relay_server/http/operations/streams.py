"""/api/stream, /api/events: server-sent events, written by `relay_server.server.pump`."""

from typing import Final

from relay_server.http import query, schemas, shapes
from relay_server.http.operation import READERS, SESSIONS, Call, Operation, Reply, ok, streaming
from relay_server.http.query import Query
from relay_server.http.shapes import Shape
from relay_server.services.streaming import StreamService
from relay_server.services.voices import Voices

_MAX_EVENT_ID_DIGITS: Final = 16
_FROM_THE_FUTURE: Final = 10**_MAX_EVENT_ID_DIGITS
_FRAMES: Final = Shape("EventStream", {"type": "string"})


class StreamOperations:
    """Handlers of streams."""

    def __init__(self, streams: StreamService, voices: Voices) -> None:
        self._streams = streams
        self._voices = voices

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [
            Operation(
                method="GET",
                path="/api/stream",
                name="openStream",
                summary="One connection for all sessions of a machine",
                handler=self.open,
                allowed=READERS,
                query=Query(
                    {
                        "agent": query.repeated(schemas.AGENT, "whose messages to get"),
                        "machine": query.text(200, about="whose commands to get"),
                    }
                ),
                answers={200: _FRAMES},
                problems=("sender_forbidden", "too_many_streams"),
                content_type="text/event-stream",
            ),
            Operation(
                method="PUT",
                path="/api/stream/{streamId}",
                name="changeStream",
                summary="Serve exactly these agents from now on, without reconnecting",
                handler=self.change,
                allowed=SESSIONS,
                body=schemas.STREAM_AGENTS,
                answers={200: shapes.STREAM},
                problems=("stream_not_found", "sender_forbidden"),
            ),
            Operation(
                method="GET",
                path="/api/events",
                name="openEvents",
                summary="Everything that happens; `Last-Event-ID` resumes",
                handler=self.open_events,
                allowed=READERS,
                query=Query(
                    {
                        "types": query.repeated(
                            schemas.EVENT_TYPE, "only these; `task` or `task.*` is that family"
                        )
                    }
                ),
                answers={200: _FRAMES},
                problems=("too_many_streams",),
                content_type="text/event-stream",
            ),
        ]

    def open(self, call: Call) -> Reply:
        agents, machine = call.query["agent"], call.query["machine"]
        self._voices.require(call.principal, agents)
        self._voices.require_machine(call.principal, machine)
        stream = self._streams.open(agents, machine, call.cut)
        frames = self._streams.frames(stream, call.is_gone)
        return streaming(frames, lambda: self._streams.close(stream))

    def change(self, call: Call) -> Reply:
        self._voices.require(call.principal, call.body["agents"])
        return ok(self._streams.change(call.path["streamId"], call.body["agents"]))

    def open_events(self, call: Call) -> Reply:
        types = frozenset(name.removesuffix(".*") for name in call.query["types"])
        last_id = _last_event_id(call.header("Last-Event-ID"))
        subscription = self._streams.open_events(types, last_id, call.cut)
        frames = self._streams.event_frames(subscription, call.is_gone)
        return streaming(frames, lambda: self._streams.close_events(subscription))


def _last_event_id(text: str | None) -> int | None:
    """What is not an id of ours counts as one from the future: the client must start anew."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _MAX_EVENT_ID_DIGITS:
        return int(text)
    return _FROM_THE_FUTURE
