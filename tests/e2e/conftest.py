"""The stack, and what its programs wrote when a test fails."""

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack
from tests.support.providers import IsolatedHome
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI


@pytest.fixture
def stack(
    home: IsolatedHome, openai: StandInOpenAI, anthropic: StandInAnthropic
) -> Iterator[Stack]:
    """Relay, daemon and sessions of one test."""
    made = Stack.on_free_port(home, {"codex": openai, "claude": anthropic})
    yield made
    made.close()
    # pytest shows it when the test failed, and only then.
    print(made.logs())
