"""Who is listening now: open streams and long polls, by the agents they serve.

Holds the routing card of each agent that somebody listens for, so that a new message finds its
listeners without a query. Cards change, and messages are offered, only under the writer lock
(in after-commit callbacks or `Database.exclusive`): a listener that joins there sees every
message committed later, exactly once, in id order.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from relay_server.domain.message import Message
from relay_server.domain.routing import Card, matches
from relay_server.services.queues import Feed
from relay_server.services.render import dumps

Offer = Callable[[str, int, bytes], None]
# What a long poll waits for: a kind of thing, and which one.
Topic = tuple[str, int]
ANY_RECEIPT: Final[Topic] = ("receipt", 0)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Work for a stream's own thread: read what these agents have not been handed."""

    agents: tuple[str, ...]
    upto: int


@dataclass(frozen=True, slots=True)
class Commands:
    """Work for a stream's own thread: read what its machine has not taken yet."""

    upto: int


@dataclass(slots=True)  # not frozen, which makes it four times slower to create
class Live:
    """A new message for one agent of a stream."""

    agent_id: str
    message_id: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """A ready event that is not a message."""

    frame: bytes


@dataclass(eq=False, slots=True)
class Stream:
    """One machine's connection."""

    id: str
    machine: str | None
    agents: set[str] = field(default_factory=set)
    feed: Feed[Backlog | Commands | Live | Notice] = field(default_factory=Feed)

    def offer(self, agent_id: str, message_id: int, frame: bytes) -> None:
        """Queue a new message."""
        self.feed.put(Live(agent_id, message_id, frame), len(frame))


@dataclass(eq=False, slots=True)
class Waiter:
    """A long poll: only told that there is something to read."""

    event: threading.Event = field(default_factory=threading.Event)

    def offer(self, agent_id: str, message_id: int, frame: bytes) -> None:
        """Wake the poll; it asks the database again."""
        del agent_id, message_id, frame
        self.event.set()


Listener = Stream | Waiter


class Listeners:
    """All listeners of this process."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._by_agent: dict[str, list[Listener]] = {}
        self._cards: dict[str, Card] = {}
        self._by_address: dict[str, set[str]] = {}
        self._streams: dict[str, Stream] = {}
        self._watchers: dict[Topic, set[threading.Event]] = {}
        self.is_closed = False

    # -- joining and leaving

    def add(self, listener: Listener, cards: Iterable[Card], unknown: Iterable[str] = ()) -> None:
        """Listen for these agents. Called within `Database.exclusive`."""
        with self._lock:
            for card in cards:
                self._put_card(card)
                self._by_agent.setdefault(card.agent_id, []).append(listener)
            for agent_id in unknown:
                self._by_agent.setdefault(agent_id, []).append(listener)
            if isinstance(listener, Stream):
                self._streams[listener.id] = listener
            if self.is_closed:
                _end(listener)

    def remove(self, listener: Listener, agents: Iterable[str]) -> None:
        """Listen no longer for these agents."""
        with self._lock:
            for agent_id in agents:
                listeners = self._by_agent.get(agent_id, [])
                if listener in listeners:
                    listeners.remove(listener)
                if not listeners:
                    self._by_agent.pop(agent_id, None)
                    self._drop_card(agent_id)

    def forget(self, stream: Stream) -> None:
        """The connection is gone."""
        self.remove(stream, list(stream.agents))
        with self._lock:
            self._streams.pop(stream.id, None)

    def stream(self, stream_id: str) -> Stream | None:
        """An open stream."""
        return self._streams.get(stream_id)

    # -- what happens

    def agent_changed(self, card: Card) -> bool:
        """Route by the new card from now on; whether its addresses changed."""
        with self._lock:
            if card.agent_id not in self._by_agent:
                return False
            before = self._cards.get(card.agent_id)
            if before == card:
                return False
            self._put_card(card)
            return True

    def agent_removed(self, agent_id: str) -> None:
        """Nothing reaches it any more."""
        with self._lock:
            self._drop_card(agent_id)

    def offer_backlog(self, agent_id: str, upto: int) -> None:
        """Let the agent's listeners look at the database again."""
        with self._lock:
            for listener in self._by_agent.get(agent_id, ()):
                if isinstance(listener, Stream):
                    listener.feed.put(Backlog((agent_id,), upto))
                else:
                    listener.event.set()

    def offer_message(
        self, message: Message, rendered: bytes, taken: frozenset[str] = frozenset()
    ) -> None:
        """Hand a message to every listener of every agent it matches but those that `taken` it."""
        with self._lock:
            for agent_id in self._by_address.get(message.target, set()) - taken:
                card = self._cards[agent_id]
                # A held one that is let through may be older than an inbox.
                if message.id <= card.inbox_start and not message.claimable:
                    continue
                if matches(
                    card, sender=message.sender, target=message.target, channel=message.channel
                ):
                    frame = message_frame(agent_id, message.id, rendered)
                    for listener in self._by_agent[agent_id]:
                        listener.offer(agent_id, message.id, frame)

    def notify(self, agent_id: str, event: str, data: object) -> None:
        """Another event for the streams that serve this agent."""
        with self._lock:
            listeners = self._by_agent.get(agent_id)
            if not listeners:
                return
            notice = Notice(event_frame(event, data))
            for listener in listeners:
                if isinstance(listener, Stream):
                    listener.feed.put(notice, len(notice.frame))

    def notify_machine(self, machine: str, event: str, data: object) -> None:
        """Another event for the streams of this machine. Rare, so it may look at each stream."""
        with self._lock:
            streams = [s for s in self._streams.values() if s.machine == machine]
            if streams:
                notice = Notice(event_frame(event, data))
                for stream in streams:
                    stream.feed.put(notice, len(notice.frame))

    # -- waiting for one thing to change

    def watch(self, topic: Topic, event: threading.Event) -> None:
        """Set `event` at each change of that."""
        with self._lock:
            self._watchers.setdefault(topic, set()).add(event)
            if self.is_closed:
                event.set()

    def unwatch(self, topic: Topic, event: threading.Event) -> None:
        """Stop that."""
        with self._lock:
            watchers = self._watchers[topic]
            watchers.discard(event)
            if not watchers:
                del self._watchers[topic]

    def changed(self, topic: Topic) -> None:
        """Whoever waits for it may look again."""
        with self._lock:
            for event in self._watchers.get(topic, ()):
                event.set()

    def close(self) -> None:
        """End every stream and wake every poll: the server stops."""
        with self._lock:
            self.is_closed = True
            for stream in self._streams.values():
                stream.feed.close()
            for listeners in self._by_agent.values():
                for listener in listeners:
                    _end(listener)
            for watchers in self._watchers.values():
                for event in watchers:
                    event.set()

    # -- cards, under the lock

    def _put_card(self, card: Card) -> None:
        self._drop_card(card.agent_id)
        self._cards[card.agent_id] = card
        for address in card.addresses:
            self._by_address.setdefault(address, set()).add(card.agent_id)

    def _drop_card(self, agent_id: str) -> None:
        card = self._cards.pop(agent_id, None)
        if card is None:
            return
        for address in card.addresses:
            agents = self._by_address[address]
            agents.discard(agent_id)
            if not agents:
                del self._by_address[address]


def message_frame(agent_id: str, message_id: int, rendered: bytes) -> bytes:
    """The `message` event. An agent id needs no JSON escaping: see domain.routing.AGENT_ID."""
    return b'id: %d\nevent: message\ndata: {"agentId":"%s","message":%s}\n\n' % (
        message_id,
        agent_id.encode(),
        rendered,
    )


def event_frame(event: str, data: object) -> bytes:
    """An event that is not a message."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), dumps(data))


def _end(listener: Listener) -> None:
    if isinstance(listener, Stream):
        listener.feed.close()
    else:
        listener.event.set()
