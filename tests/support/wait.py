"""Waiting for a condition. The only place in the tests that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    predicate: Callable[[], T], within: float = 5.0, *, message: str | Callable[[], str] = ""
) -> T:
    """The predicate's first true value. An AssertionError inside it counts as not yet.

    Raises:
        AssertionError: it did not become true in time; with `message`, else the predicate's own.
    """
    deadline = time.monotonic() + within
    pause = 0.002
    while True:
        failure: AssertionError | None = None
        value: T | None = None
        try:
            value = predicate()
        except AssertionError as error:
            failure = error
        if value:
            return value
        if time.monotonic() >= deadline:
            said = message() if callable(message) else message
            raise AssertionError(said or f"not true within {within} s: {value!r}") from failure
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
