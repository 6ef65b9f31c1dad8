"""The loop that waits for all sockets. It looks only at connections that something happened to.

waitress' own loop asks every connection before each wait what it wants, which with hundreds of
streams costs more than the requests do. `turn` belongs to one thread; the rest is for any.
"""

from collections import deque
from collections.abc import Mapping
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from waitress import wasyncore


class Loop:
    """Over waitress' dispatchers: the door, the trigger and the connections, by descriptor."""

    def __init__(self, dispatchers: Mapping[int, Any]) -> None:
        self._dispatchers = dispatchers
        self._selector = DefaultSelector()
        self._waited_for: dict[int, int] = {}
        self._changed: deque[Any] = deque()

    def look_at(self, dispatcher: Any) -> None:
        """In the next turn, ask it what it wants."""
        self._changed.append(dispatcher)

    def is_right_about(self, dispatcher: Any) -> bool:
        """Whether it is waited for what it wants."""
        return _wish(dispatcher) == self._waited_for.get(_descriptor(dispatcher), 0)

    def forget(self, descriptor: int) -> None:
        """It is about to be closed, and its number to be given to another."""
        if self._waited_for.pop(descriptor, 0):
            self._selector.unregister(descriptor)

    def turn(self, timeout: float) -> None:
        """Wait until something happens, and see to it."""
        for _ in range(len(self._changed)):
            self._update(self._changed.popleft())
        for key, events in self._selector.select(timeout):
            dispatcher = key.data
            if events & EVENT_READ and self._is_there(key.fd, dispatcher):
                wasyncore.read(dispatcher)
            if events & EVENT_WRITE and self._is_there(key.fd, dispatcher):
                wasyncore.write(dispatcher)
            self._changed.append(dispatcher)

    def close(self) -> None:
        """After the last turn."""
        self._selector.close()

    def _is_there(self, descriptor: int, dispatcher: Any) -> bool:
        return self._dispatchers.get(descriptor) is dispatcher

    def _update(self, dispatcher: Any) -> None:
        descriptor = _descriptor(dispatcher)
        # Again until it stays so: what another thread changed meanwhile it would not report,
        # having seen the old state.
        while self._is_there(descriptor, dispatcher):
            wish, before = _wish(dispatcher), self._waited_for.get(descriptor, 0)
            if wish == before:
                return
            self._waited_for[descriptor] = wish
            if not before:
                self._selector.register(descriptor, wish, dispatcher)
            elif wish:
                self._selector.modify(descriptor, wish, dispatcher)
            else:
                self._selector.unregister(descriptor)


def _wish(dispatcher: Any) -> int:
    read = EVENT_READ if dispatcher.readable() else 0
    return read | EVENT_WRITE if dispatcher.writable() and not dispatcher.accepting else read


def _descriptor(dispatcher: Any) -> int:
    """None's place is taken by a number that no socket has: it was closed."""
    number: int | None = dispatcher._fileno  # noqa: SLF001 - waitress' only word for it
    return -1 if number is None else number
