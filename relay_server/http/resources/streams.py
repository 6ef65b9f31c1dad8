"""/api/stream and /api/events: server-sent events. Each occupies its thread until it ends."""

from collections.abc import Callable, Iterator
from typing import Final

from falcon import Request, Response

from relay_server.http import request as requests
from relay_server.http import schemas
from relay_server.http.answer import send
from relay_server.services.streaming import StreamService

_MAX_EVENT_ID_DIGITS: Final = 16
_FROM_THE_FUTURE: Final = 10**_MAX_EVENT_ID_DIGITS


def _start(response: Response, frames: Iterator[bytes], on_end: Callable[[], None]) -> None:
    response.content_type = "text/event-stream"
    response.cache_control = ["no-store"]
    # nginx buffers streams unless told not to.
    response.set_header("X-Accel-Buffering", "no")
    response.stream = _Frames(frames, on_end)


class _Frames:
    """An iterator whose `close` always gives the place back, even if it was never started."""

    def __init__(self, frames: Iterator[bytes], on_end: Callable[[], None]) -> None:
        self._frames = frames
        self._on_end = on_end
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._frames

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._on_end()


class MachineStream:
    """One connection for all sessions of a machine."""

    def __init__(self, service: StreamService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response) -> None:
        query = requests.Query(request, ("agent", "machine"))
        agents = query.texts("agent", schemas.AGENT)
        stream = self._service.open(agents, query.text("machine"), requests.cut(request))
        _start(
            response,
            self._service.frames(stream, requests.is_gone(request)),
            lambda: self._service.close(stream),
        )


class StreamPath:
    """Changing an open stream's set of agents."""

    def __init__(self, service: StreamService) -> None:
        self._service = service

    def on_put(self, request: Request, response: Response, stream_id: str) -> None:
        given = requests.body(request, schemas.STREAM_AGENTS)
        send(response, self._service.change(stream_id, given["agents"]))


class Events:
    """Everything that happens."""

    def __init__(self, service: StreamService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response) -> None:
        query = requests.Query(request, ("types",))
        types = frozenset(name.removesuffix(".*") for name in query.texts("types"))
        subscription = self._service.open_events(
            types, _last_event_id(request), requests.cut(request)
        )
        frames = self._service.event_frames(subscription, requests.is_gone(request))
        _start(response, frames, lambda: self._service.close_events(subscription))


def _last_event_id(request: Request) -> int | None:
    """What is not an id of ours counts as one from the future: the client must start anew."""
    text = request.get_header("Last-Event-ID")
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _MAX_EVENT_ID_DIGITS:
        return int(text)
    return _FROM_THE_FUTURE
