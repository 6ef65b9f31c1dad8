"""When a callback is tried again, and when it is given up."""

import pytest

from relay_server.domain.callback import LIFE_MS, Attempt, AttemptError, judge
from relay_server.wire import CallbackStatus

CREATED = 1_000_000


def _attempt(number: int = 1, status: int | None = 500, error: str | None = None) -> Attempt:
    return Attempt(number, CREATED, status, error, 3)


@pytest.mark.parametrize(
    ("number", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (12, 2048), (13, 3600), (5000, 3600)]
)
def test_delays_double_up_to_an_hour_and_spread_over_their_upper_half(
    number: int, seconds: int
) -> None:
    now = CREATED + 7

    earliest = judge(CREATED, _attempt(number), now, 0.0)
    latest = judge(CREATED, _attempt(number), now, 1.0)

    assert earliest == (CallbackStatus.PENDING, now + seconds * 500)
    assert latest == (CallbackStatus.PENDING, now + seconds * 1000)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert judge(CREATED, _attempt(status=status), CREATED, 0.5) == (
        CallbackStatus.DELIVERED,
        None,
    )


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
def test_other_answers_are_tried_again(status: int) -> None:
    verdict = judge(CREATED, _attempt(status=status), CREATED, 0.5)

    assert verdict.status is CallbackStatus.PENDING


@pytest.mark.parametrize(
    "attempt",
    [
        _attempt(status=None, error=AttemptError.INTEGRATION_REMOVED),
        _attempt(status=None, error=AttemptError.NO_CALLBACK_URL),
    ],
)
def test_whoever_is_gone_for_good_is_not_tried_again(attempt: Attempt) -> None:
    assert judge(CREATED, attempt, CREATED, 0.5) == (CallbackStatus.FAILED, None)


def test_the_last_attempt_is_at_the_end_of_its_day() -> None:
    shortly_before = CREATED + LIFE_MS - 1000

    assert judge(CREATED, _attempt(30), shortly_before, 0.5) == (
        CallbackStatus.PENDING,
        CREATED + LIFE_MS,
    )
    assert judge(CREATED, _attempt(31), CREATED + LIFE_MS, 0.5) == (CallbackStatus.FAILED, None)


def test_an_answer_after_its_day_still_counts() -> None:
    late = CREATED + LIFE_MS + 1

    assert judge(CREATED, _attempt(31, 200), late, 0.5).status is CallbackStatus.DELIVERED
