"""The seam to time: wall clock in milliseconds and a monotonic clock in seconds."""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

# `fromisoformat` also takes days alone, weeks and basic forms; the contract does not.
RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


class Clock(Protocol):
    """What the rest of the server knows about time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def to_rfc3339(at_ms: int) -> str:
    """`2026-11-22T16:41:00.123Z`."""
    seconds, millis = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{millis:03d}Z"


def from_rfc3339(text: str) -> int:
    """Milliseconds since the epoch. Raises: ValueError."""
    if not RFC3339.fullmatch(text):
        raise ValueError("not a time of RFC 3339")
    try:
        in_utc = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond the years 1..9999") from None
    # Not `timestamp()`, whose floating point may miss a millisecond.
    passed = in_utc - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1000 + passed.microseconds // 1000


_EPOCH: Final = datetime.fromtimestamp(0, UTC)


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """Formatted once for all the messages of that second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
