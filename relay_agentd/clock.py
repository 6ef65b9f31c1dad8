"""Time as a value that is passed in: the only module that reads a clock.

now          what is shown, or compared with times of before a restart; may jump
monotonic    how long something here takes; stands still while the machine is suspended
boottime     how long ago something was, for others too; goes on while it is suspended
"""

import time
from datetime import UTC, datetime
from typing import Final

# On macOS CLOCK_MONOTONIC goes on while the machine sleeps; `time.monotonic` does not.
_BOOTTIME: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds since the epoch, as this machine believes."""
    return time.time()


def monotonic() -> float:
    """Seconds that never jump: for deadlines."""
    return time.monotonic()


def boottime() -> float:
    """Seconds that never jump, those of a suspended machine included."""
    return time.clock_gettime(_BOOTTIME)


def timestamp(seconds: float) -> str:
    """The wire's form of a time."""
    whole = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return whole.replace("+00:00", "Z")
