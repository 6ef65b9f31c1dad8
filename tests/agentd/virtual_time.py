"""Time that a test moves: an event loop that never sleeps, and the clocks the daemon reads.

with VirtualTime() as time:
    time.run(scenario())     # hours pass in no time
    time.set_wall_clock(-86400)
    time.suspend(3600)
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Final, Self, TypeVar

import pytest

T = TypeVar("T")

START: Final = 1_800_000_000.0


class _Selector(selectors.SelectSelector):
    """Lets the time pass instead of waiting; real files are only looked at."""

    def __init__(self, time: "VirtualTime") -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("nothing is due any more: the test would wait for ever")
        self._time.seconds += max(0.0, timeout)
        return super().select(0)


class VirtualTime:
    """See the module. Also what `relay_agentd.clock` takes for the module `time`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Of the loop, and of the clock that stands still while the machine is suspended."""
        self._suspended = 0.0
        self._wall_is_off = 0.0
        self._patches = pytest.MonkeyPatch()
        self.loop = asyncio.SelectorEventLoop(_Selector(self))
        self.loop.time = lambda: self.seconds  # type: ignore[method-assign]

    # --- what the daemon reads ---

    def time(self) -> float:
        return START + self.seconds + self._suspended + self._wall_is_off

    def monotonic(self) -> float:
        return self.seconds

    def clock_gettime(self, clock: int) -> float:
        return self.seconds + self._suspended

    # --- what the test does ---

    def true_time(self) -> float:
        """What everybody else's clock shows."""
        return START + self.seconds + self._suspended

    def set_wall_clock(self, seconds: float) -> None:
        """Make this machine's clock wrong by that much."""
        self._wall_is_off = seconds

    def suspend(self, seconds: float) -> None:
        """Close the lid for a while."""
        self._suspended += seconds

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out a coroutine in this time."""
        return self.loop.run_until_complete(work)

    def __enter__(self) -> Self:
        self._patches.setattr("relay_agentd.clock.time", self)
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.undo()
        self.loop.close()
