"""A machine's stream: what was missed, then what happens, for all its agents in id order.

`frames` never waits: where there is nothing to send it yields a `Pause`, so that no thread belongs
to a stream. A stream joins the listeners under the writer lock and notes the newest id there: older
messages come from the database, newer ones from its feed, so none is missed and none comes twice.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from relay_server.domain.message import Message
from relay_server.errors import NotFound
from relay_server.ids import new_stream_id
from relay_server.services import render
from relay_server.services.core import Core
from relay_server.services.events import Subscription
from relay_server.services.live import Backlog, Commands, Live, Stream, event_frame, message_frame
from relay_server.services.queues import Feed, Pause
from relay_server.services.receipts import ReceiptService
from relay_server.services.waiting import IsGone
from relay_server.store import agents, commands, inbox, messages

PING_SECONDS: Final = 15
_PING: Final = b": ping\n\n"
_PAGE: Final = 200

Item = TypeVar("Item")
Cut = Callable[[], None]


class StreamService:
    """Thread-safe; the frames of one stream are asked for by one thread at a time."""

    def __init__(self, core: Core, receipts: ReceiptService) -> None:
        self._core = core
        self._receipts = receipts

    # -- a machine's stream

    def open(self, agent_ids: Iterable[str], machine: str | None, cut: Cut) -> Stream:
        """Take a place. Raises: Unavailable. Ends with `close`."""
        self._core.slots.take_stream()
        stream = Stream(new_stream_id(), machine, feed=Feed(cut))
        with self._core.database.exclusive() as reader:
            self._join(stream, list(dict.fromkeys(agent_ids)))
            if machine is not None:
                stream.feed.put(Commands(commands.newest_id(reader)))
        return stream

    def _join(self, stream: Stream, agent_ids: list[str]) -> list[str]:
        """Serve these agents too; those that are not registered."""
        with self._core.database.exclusive() as reader:
            found = {a: agent for a in agent_ids if (agent := agents.get(reader, a))}
            unknown = [a for a in agent_ids if a not in found]
            upto = messages.newest_id(reader)
            self._core.listeners.add(stream, [agent.card for agent in found.values()], unknown)
            stream.agents.update(agent_ids)
            if found:
                stream.feed.put(Backlog(tuple(found), upto))
        return unknown

    def change(self, stream_id: str, agent_ids: Iterable[str]) -> render.Json:
        """Serve exactly these agents from now on. Raises: NotFound."""
        wanted = list(dict.fromkeys(agent_ids))
        # One change at a time, and each at its own place in the order of messages.
        with self._core.database.exclusive():
            stream = self._core.listeners.stream(stream_id)
            if stream is None:
                raise NotFound("There is no such stream.", code="stream_not_found")
            gone = stream.agents - set(wanted)
            stream.agents -= gone
            self._core.listeners.remove(stream, gone)
            unknown = self._join(stream, [a for a in wanted if a not in stream.agents])
            return {"streamId": stream.id, "agents": sorted(stream.agents), "unknown": unknown}

    def close(self, stream: Stream) -> None:
        """The connection is gone."""
        stream.feed.close()
        self._core.listeners.forget(stream)
        self._core.slots.free_stream()

    def frames(self, stream: Stream, is_gone: IsGone) -> Iterator[bytes]:
        """Server-sent events until the stream is closed, or its client has left."""
        hello = {"streamId": stream.id, "agents": sorted(stream.agents)}
        yield event_frame("hello", hello)
        for items in self._batches(stream.feed, is_gone):
            if isinstance(items, bytes):
                yield items
                continue
            batch: list[bytes] = []
            marks: list[tuple[str, int]] = []
            for item in items:
                if isinstance(item, Backlog | Commands):
                    if batch:
                        yield from self._send(batch, marks)
                        batch, marks = [], []
                    yield from self._missed(stream, item)
                elif not isinstance(item, Live):
                    batch.append(item.frame)
                elif item.agent_id in stream.agents:
                    batch.append(item.frame)
                    marks.append((item.agent_id, item.message_id))
            if batch:
                yield from self._send(batch, marks)

    def _batches(self, feed: Feed[Item], is_gone: IsGone) -> Iterator[list[Item] | bytes]:
        """What the feed has, each time it has something; else a pause, or a ping once due."""
        clock = self._core.clock
        ping_at = clock.monotonic() + PING_SECONDS
        while not feed.is_closed and not is_gone():
            items = feed.take()
            now = clock.monotonic()
            if not items and now < ping_at:
                yield Pause(feed, ping_at)
                continue
            ping_at = now + PING_SECONDS
            yield items or _PING

    def _send(self, batch: list[bytes], marks: list[tuple[str, int]]) -> Iterator[bytes]:
        yield b"".join(batch)
        if marks:
            self._receipts.mark_routed(marks)

    def _missed(self, stream: Stream, item: Backlog | Commands) -> Iterator[bytes]:
        if isinstance(item, Backlog):
            return self._backlog(stream, item)
        return self._commands(stream, item.upto)

    def _commands(self, stream: Stream, upto: int) -> Iterator[bytes]:
        """Everything its machine has not taken yet, oldest first."""
        assert stream.machine is not None
        since = 0
        while since < upto:
            with self._core.database.read() as reader:
                page = commands.pending(reader, stream.machine, since, upto, _PAGE)
            for command in page:
                yield event_frame("command", {"command": render.command_json(command)})
            since = page[-1].id if len(page) == _PAGE else upto

    def _backlog(self, stream: Stream, backlog: Backlog) -> Iterator[bytes]:
        """Everything not yet handed, in id order over all the agents."""
        sources = [self._unhanded(agent_id, backlog.upto) for agent_id in backlog.agents]
        batch: list[bytes] = []
        marks: list[tuple[str, int]] = []
        now = self._core.clock.now_ms()
        for message_id, agent_id, message in heapq.merge(*sources, key=lambda item: item[:2]):
            if agent_id not in stream.agents or stream.feed.is_closed:
                continue
            rendered = render.dumps(render.message_json(message, now))
            batch.append(message_frame(agent_id, message_id, rendered))
            marks.append((agent_id, message_id))
            if len(batch) == _PAGE:
                yield from self._send(batch, marks)
                batch, marks = [], []
        if batch:
            yield from self._send(batch, marks)

    def _unhanded(self, agent_id: str, upto: int) -> Iterator[tuple[int, str, Message]]:
        """Page by page: no connection is held while a page is being sent."""
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            agent = agents.get(reader, agent_id)
            if agent is None:
                return
            late = inbox.late(reader, agent.card, (0, agent.cursor), now=now, limit=_MOST_LATE)
        for message in late:
            yield message.id, agent_id, message
        since = agent.cursor
        while True:
            with self._core.database.read() as reader:
                page = inbox.after(
                    reader,
                    agent.card,
                    since,
                    now=now,
                    limit=_PAGE,
                    conditions=(inbox.UNHANDED,),
                )
            for message in page:
                if message.id <= upto:
                    yield message.id, agent_id, message
            if len(page) < _PAGE or page[-1].id >= upto:
                return
            since = page[-1].id

    # -- everything that happens

    def open_events(self, types: frozenset[str], last_id: int | None, cut: Cut) -> Subscription:
        """Take a place. Raises: Unavailable. Ends with `close_events`."""
        self._core.slots.take_stream()
        return self._core.events.subscribe(types, last_id, cut)

    def close_events(self, subscription: Subscription) -> None:
        """The connection is gone."""
        self._core.events.unsubscribe(subscription)
        self._core.slots.free_stream()

    def event_frames(self, subscription: Subscription, is_gone: IsGone) -> Iterator[bytes]:
        """Server-sent events until the log is closed, or the client has left."""
        # A comment first, so that the client knows at once that it is connected.
        yield b": connected\n\n"
        for frames in self._batches(subscription.feed, is_gone):
            yield frames if isinstance(frames, bytes) else b"".join(frames)


# Open claimable messages that one agent may be shown again at a connect.
_MOST_LATE: Final = 1000
