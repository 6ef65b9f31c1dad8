"""Guards against agents that talk in circles: messages a minute a sender, messages a thread."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final

from relay_server.wire import OPERATOR

SENDER_WINDOW_MS: Final = 60_000
LOOP_WINDOW_MS: Final = 600_000
LOOP_GUARD: Final = "loop_guard"
_MAX_SENDERS: Final = 10_000


class SenderLimit:
    """A sliding minute for each sender. Not locked: used under the writer lock."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._sent: OrderedDict[str, deque[int]] = OrderedDict()

    def wait_ms(self, sender: str, now: int) -> int:
        """0 when the sender may send now, else how long until it may."""
        if not self._per_minute:
            return 0
        times = self._sent.get(sender)
        if times is None:
            return 0
        while times and times[0] <= now - SENDER_WINDOW_MS:
            times.popleft()
        if len(times) < self._per_minute:
            return 0
        return times[0] + SENDER_WINDOW_MS - now

    def count(self, sender: str, now: int) -> None:
        """Note one message that was accepted."""
        if not self._per_minute:
            return
        times = self._sent.setdefault(sender, deque())
        times.append(now)
        self._sent.move_to_end(sender)
        if len(self._sent) > _MAX_SENDERS:
            self._sent.popitem(last=False)


def runs_in_circles(newest: Sequence[tuple[str, int]], limit: int, now: int) -> bool:
    """Whether one more message in a thread is too many.

    `newest`: (sender, created_at) of the thread's latest messages, at most `limit` of them.
    """
    if not limit or len(newest) < limit:
        return False
    return all(
        sender != OPERATOR and created_at > now - LOOP_WINDOW_MS for sender, created_at in newest
    )
