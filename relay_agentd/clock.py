"""Time as a value that is passed in: the only module that reads a clock."""

import time
from datetime import UTC, datetime


def now() -> float:
    """Seconds since the epoch: for what is stored or shown."""
    return time.time()


def monotonic() -> float:
    """Seconds that never jump: for deadlines."""
    return time.monotonic()


def timestamp(seconds: float) -> str:
    """The wire's form of a time."""
    whole = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return whole.replace("+00:00", "Z")
