"""Long polls: look, and look again whenever the topic has changed, until it is enough.

Runs in the request's own thread and holds nothing while it waits. A wake-up is a hint; what is
answered was read from the database.
"""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from relay_server.services.core import Core
from relay_server.services.live import Topic

# A wake-up may be lost with its listener, and a client may leave: look this often.
SLICE_SECONDS: Final = 1.0

IsGone = Callable[[], bool]
Answer = TypeVar("Answer")


def until(
    core: Core,
    topic: Topic,
    look: Callable[[], tuple[Answer, bool]],
    wait_seconds: float,
    is_gone: IsGone,
) -> Answer:
    """The first answer that `look` calls enough, or the one there is after `wait_seconds`.

    Raises: Unavailable when too many wait already.
    """
    answer, is_enough = look()
    if is_enough or wait_seconds <= 0:
        return answer
    deadline = core.clock.monotonic() + wait_seconds
    changed = threading.Event()
    with core.slots.long_poll():
        core.listeners.watch(topic, changed)
        try:
            while True:
                changed.clear()
                answer, is_enough = look()
                left = deadline - core.clock.monotonic()
                if is_enough or left <= 0 or core.listeners.is_closed or is_gone():
                    return answer
                changed.wait(min(left, SLICE_SECONDS))
        finally:
            core.listeners.unwatch(topic, changed)
