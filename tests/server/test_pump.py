"""The thread that writes all streams, with connections that are only pretended."""

import math
from collections.abc import Iterator

import pytest

from relay_server.clock import SystemClock
from relay_server.server.pump import Flow, Pump
from relay_server.services.queues import Feed, Pause
from tests.support.wait import eventually


class PretendedSink:
    """Takes everything, until a test says otherwise."""

    def __init__(self) -> None:
        self.is_open = True
        self.has_room = True
        self.written: list[bytes] = []
        self.has_ended = False

    def write(self, piece: bytes) -> None:
        self.written.append(piece)

    def end(self) -> None:
        self.has_ended = True


@pytest.fixture
def pump() -> Iterator[Pump]:
    """One that runs."""
    running = Pump(SystemClock())
    running.start()
    yield running
    running.close()


def _pieces(feed: Feed[bytes]) -> Iterator[bytes]:
    yield b"hello"
    while not feed.is_closed:
        items = feed.take()
        if b"trouble" in items:
            raise RuntimeError
        yield from items
        yield Pause(feed, math.inf)


class Opened:
    """A stream, its feed and its connection."""

    def __init__(self, pump: Pump) -> None:
        self.feed: Feed[bytes] = Feed()
        self.sink = PretendedSink()
        self.places = 1
        self.flow = Flow(_pieces(self.feed), self.sink, self._give_back, pump)
        pump.adopt(self.flow)

    def _give_back(self) -> None:
        self.places -= 1

    def has_written(self, *pieces: bytes) -> bool:
        return self.sink.written == [b"hello", *pieces]


def test_what_is_put_is_written_in_order(pump: Pump) -> None:
    streams = [Opened(pump) for _ in range(3)]
    for number in range(100):
        for stream in streams:
            stream.feed.put(b"%d" % number)

    for stream in streams:
        eventually(lambda: stream.has_written(*(b"%d" % n for n in range(100))))  # noqa: B023


def test_a_client_without_room_gets_nothing_until_it_has_some(pump: Pump) -> None:
    slow, other = Opened(pump), Opened(pump)
    slow.sink.has_room = False
    slow.feed.put(b"one")
    other.feed.put(b"one")
    eventually(lambda: other.has_written(b"one"))
    assert slow.has_written()

    slow.sink.has_room = True
    slow.flow.wake()

    eventually(lambda: slow.has_written(b"one"))


def test_a_client_that_left_gives_its_place_back_once(pump: Pump) -> None:
    stream = Opened(pump)
    stream.sink.is_open = False
    stream.flow.wake()
    stream.flow.wake()

    eventually(lambda: stream.places == 0)
    stream.feed.close()
    pump.close()
    assert stream.places == 0


def test_a_closed_feed_ends_its_stream(pump: Pump) -> None:
    stream = Opened(pump)
    stream.feed.close()

    eventually(lambda: stream.sink.has_ended)


def test_a_stream_in_trouble_ends_alone(pump: Pump) -> None:
    broken, other = Opened(pump), Opened(pump)
    broken.feed.put(b"trouble")
    eventually(lambda: broken.sink.has_ended)

    other.feed.put(b"one")

    eventually(lambda: other.has_written(b"one"))
    assert (broken.places, other.places) == (0, 1)


def test_closing_ends_every_stream(pump: Pump) -> None:
    streams = [Opened(pump) for _ in range(3)]

    pump.close()

    assert [stream.places for stream in streams] == [0, 0, 0]
    assert all(stream.sink.has_ended for stream in streams)
