"""What the relay costs a session's model before the first message."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.stack import Stack
from tests.support.providers import CliName

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]


def _strings(value: Any) -> Iterator[str]:
    """Every text of a request's body, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _strings(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _strings(each))


def _is_ours(text: str) -> bool:
    return "relay" in text.lower()


@pytest.mark.parametrize("name", ["codex", "claude-2.1.197", "claude-2.1.330"])
def test_the_first_request_carries_little_of_the_relay(stack: Stack, name: CliName) -> None:
    session = stack.session(name)
    session.terminal.submit("hello [[say: good morning]]")
    body = session.model.wait_for(lambda request: request.main).body

    tools = [tool for tool in body["tools"] if _is_ours(str(tool.get("name")))]
    rest = {key: value for key, value in body.items() if key != "tools"}
    lines = [line for text in _strings(rest) for line in text.splitlines() if _is_ours(line)]

    assert tools
    assert lines
    assert sum(len(line.encode()) for line in lines) <= 1500
    assert sum(len(json.dumps(tool, ensure_ascii=False)) for tool in tools) <= 4096
