"""Real sessions with stand-in models: how fast mail gets in, and what the relay adds to a turn."""

import itertools
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scripts.benchmarks.measure import report, summary
from tests.e2e.stack import Session, Stack
from tests.support.processes import end_all
from tests.support.providers import MARKER, READY, CliName, IsolatedHome
from tests.support.standin import Recorded, StandIn
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI
from tests.support.terminal import Terminal
from tests.support.wait import eventually

_WAKE_TARGETS: dict[CliName, float] = {
    "codex": 0.150,
    "claude-2.1.330": 0.300,
    "claude-2.1.197": 1.0,
}
_FIRST_PROMPT = "hello [[say: done]]"
_TEN_CALLS = "count " + "[[shell: true]] " * 10 + "[[say: done]]"


def run() -> None:
    """All measurements of real sessions."""
    for name, target in _WAKE_TARGETS.items():
        with _stack() as stack:
            session = stack.session(name)
            _wake(stack, session, target)
        with _stack() as stack:
            _first_request(stack, name)
    for name in ("claude-2.1.330", "claude-2.1.197"):
        with _stack() as stack:
            _tool_calls(stack, name)


@contextmanager
def _stack() -> Iterator[Stack]:
    with (
        StandInOpenAI() as openai,
        StandInAnthropic() as anthropic,
        IsolatedHome(openai, anthropic) as home,
    ):
        stack = Stack.on_free_port(home, {"codex": openai, "claude": anthropic})
        try:
            yield stack
        finally:
            stack.close()
            end_all(MARKER, str(home.path))


def _wake(stack: Stack, session: Session, target: float, *, posts: int = 12) -> None:
    """From the POST to the model request that holds the message, of an idle session."""
    times = []
    for _ in range(posts):
        eventually(lambda: stack.agent(session.id)["status"] == "idle", 15)
        started = time.monotonic()
        number = stack.send(session.id, "wake up [[say: awake]]")
        request = session.model.wait_for(lambda each: _ends_with(each, number))  # noqa: B023
        times.append(request.received_at - started)
        stack.wait_until_in_context(number)
    middle = statistics.median(times)
    name = f"POST -> model request, idle {session.name}"
    report(name, summary(times), f"p50 {target * 1000:.0f} ms", met=middle <= target)


def _ends_with(request: Recorded, number: int) -> bool:
    return request.main and request.message_ids()[-1:] == [number]


def _first_request(stack: Stack, name: CliName) -> None:
    """What the first model request holds with the relay that it lacks without."""
    with_relay = _first_body(stack, name, stack.session(name).terminal)
    bare = _first_body(stack, name, _bare(stack, name))
    ours = [tool for tool in _tools(with_relay) if "relay_" in json.dumps(tool)]
    schemas = _size(ours)
    own = _size(_tools(with_relay)) - schemas
    others = own - _size(_tools(bare))
    added = _size(with_relay) - _size(bare) - schemas - others
    print(f"      {name}: {_size(bare)} bytes bare; the provider itself added {others} of tools")
    report(f"first request of {name}: text added", f"{added} bytes", "<= 1,500", met=added <= 1500)
    report(
        f"first request of {name}: tools' schemas",
        f"{schemas} bytes",
        "<= 4,096",
        met=schemas <= 4096,
    )


def _first_body(stack: Stack, name: CliName, terminal: Terminal) -> dict[str, Any]:
    model = _model(stack, name)
    before = len(model.main_requests)
    terminal.submit(_FIRST_PROMPT)
    eventually(lambda: len(model.main_requests) > before, 20)
    return model.main_requests[before].body


def _tool_calls(stack: Stack, name: CliName) -> None:
    """Ten tool calls in one turn, with the relay's gate and without."""
    gated = _between_calls(stack, name, stack.session(name, "--allowedTools", "Bash").terminal)
    bare = _between_calls(stack, name, _bare(stack, name, "--allowedTools", "Bash"))
    added = statistics.median(gated) - statistics.median(bare)
    print(f"      {name}: a call takes {summary(gated)} with the relay, {summary(bare)} without")
    report(f"hooks per tool call, {name}", f"{added * 1000:.0f} ms", "<= 80 ms", met=added <= 0.080)


def _between_calls(stack: Stack, name: CliName, terminal: Terminal) -> list[float]:
    model = _model(stack, name)
    before = len(model.main_requests)
    terminal.submit(_TEN_CALLS)
    eventually(lambda: len(model.main_requests) >= before + 11, 60)
    arrived = [request.received_at for request in model.main_requests[before : before + 11]]
    return [later - earlier for earlier, later in itertools.pairwise(arrived)]


def _bare(stack: Stack, name: CliName, *words: str) -> Terminal:
    """The provider alone, in the same home."""
    program = "codex" if name == "codex" else "claude"
    flags = ["--no-daemon", "-a", "never", "-s", "workspace-write"] if name == "codex" else []
    terminal = Terminal([program, *flags, *words], stack.environment(name), stack.home.project)
    stack.terminals.append(terminal)
    terminal.wait_for_text(READY[name], within=40)
    return terminal


def _model(stack: Stack, name: CliName) -> StandIn:
    return stack.models["codex" if name == "codex" else "claude"]


def _tools(body: dict[str, Any]) -> list[Any]:
    tools: list[Any] = body.get("tools", [])
    return tools


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
