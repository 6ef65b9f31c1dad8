"""A callback to an integration: its life, and when it is tried again. Pure.

    pending ──2xx──▶ delivered
     │  ▲ └── nobody to send to, a failure at the end of its 24 hours ──▶ failed
     └──┘ any other answer or none: again later

One that is over lets the next one of its task go on. The time and the random share are passed in.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from relay_server.wire import CallbackStatus

LIFE_MS: Final = 24 * 3600 * 1000
# A hiccup costs a second; a receiver that restarts is back after a few doublings.
_FIRST_DELAY_MS: Final = 1_000
# After an outage of hours everything has arrived within one more.
_LONGEST_DELAY_MS: Final = 3600 * 1000


class AttemptError(StrEnum):
    """Why an attempt got no status code."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TLS_FAILED = "tls_failed"
    NO_ANSWER = "no_answer"
    INVALID_URL = "invalid_url"
    INTERNAL = "internal"
    INTEGRATION_REMOVED = "integration_removed"
    NO_CALLBACK_URL = "no_callback_url"


_FINAL: Final = frozenset({AttemptError.INTEGRATION_REMOVED, AttemptError.NO_CALLBACK_URL})


class Callback(NamedTuple):
    """One change that an integration is told of. Fields are the columns, in order.

    `next_attempt_at` None: over, or one before it is not.
    """

    id: int
    delivery_id: str
    task_id: int
    integration: str
    event: str
    task: str
    status: str
    attempts: int
    created_at: int
    next_attempt_at: int | None
    ended_at: int | None


class Attempt(NamedTuple):
    """One try: it has a status code or an error. Fields are the columns, in order."""

    number: int
    at: int
    status_code: int | None
    error: str | None
    duration_ms: int


class Verdict(NamedTuple):
    """What an attempt makes of its callback."""

    status: CallbackStatus
    next_attempt_at: int | None


def judge(created_at: int, attempt: Attempt, now: int, share: float) -> Verdict:
    """What becomes of a callback after this attempt; `share` in 0..1 spreads the next one."""
    if attempt.status_code is not None and 200 <= attempt.status_code < 300:
        return Verdict(CallbackStatus.DELIVERED, None)
    ends_at = created_at + LIFE_MS
    # Whatever it refuses with may be mended within a day.
    if attempt.error in _FINAL or now >= ends_at:
        return Verdict(CallbackStatus.FAILED, None)
    # The last attempt is at the very end of its life.
    return Verdict(CallbackStatus.PENDING, min(ends_at, now + _delay(attempt.number, share)))


def _delay(failures: int, share: float) -> int:
    """Doubling, in the upper half of its range: many that failed together come apart."""
    # The exponent is bounded: the number of attempts is not.
    longest = min(_LONGEST_DELAY_MS, _FIRST_DELAY_MS << min(failures - 1, 32))
    return round(longest * (0.5 + share / 2))
