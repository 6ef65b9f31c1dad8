"""What a real session on the relay costs: waking it, its tool calls, its context.

Uses the tests' stand-in models, terminals and homes; `scripts/test` fetches the providers.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from scripts.benchmarks.measure import report, summary
from tests.e2e.stack import Session, Stack
from tests.support.processes import end_all
from tests.support.providers import MARKER, READY, CliName, IsolatedHome, find_cli
from tests.support.standin import Recorded, StandIn
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI
from tests.support.terminal import Terminal
from tests.support.wait import eventually

WAKE_SECONDS: dict[CliName, float] = {"codex": 0.15, "claude-2.1.330": 0.3, "claude-2.1.197": 1.0}
HOOK_SECONDS = 0.08
CONTEXT_BYTES, SCHEMA_BYTES = 1500, 4096
ANSWER = "the bench is over"


def run() -> None:
    """All of it, one provider after the other."""
    for name, target in WAKE_SECONDS.items():
        with _stack() as stack:
            _wake(stack.session(name), stack, target)
    for name in WAKE_SECONDS:
        _tool_calls(name)


def _wake(session: Session, stack: Stack, target: float, *, messages: int = 15) -> None:
    """From the POST of a message to the model request that holds it, the session being idle."""
    samples = []
    for _ in range(messages):
        eventually(lambda: stack.agent(session.id)["status"] == "idle", 20)
        posted = time.monotonic()
        number = stack.send(session.id, "wake up")
        request = session.model.wait_for(_holds(number))
        samples.append(request.received_at - posted)
    p50 = statistics.median(samples)
    name = f"POST -> model request, idle {session.name}"
    report(name, summary(samples), f"p50 <= {target * 1000:.0f} ms", met=p50 <= target)


def _tool_calls(name: CliName, *, calls: int = 12) -> None:
    """What the relay adds to a tool call and to the first model request, against a bare session."""
    prompt = " ".join(["[[shell: true]]"] * calls) + f" [[say: {ANSWER}]]"
    with _stack() as stack:
        session = stack.session(name)
        session.terminal.submit(prompt)
        with_relay = _turn(session.model)
    with _stack() as stack, _bare(stack, name) as terminal:
        terminal.wait_for_text(READY[name], 40)
        terminal.submit(prompt)
        without = _turn(stack.models["codex" if name == "codex" else "claude"])
    added = statistics.median(_gaps(with_relay)) - statistics.median(_gaps(without))
    shown = f"{added * 1000:+.0f} ms"
    met = added <= HOOK_SECONDS
    report(f"added to a tool call, {name}", shown, f"<= {HOOK_SECONDS * 1000:.0f} ms", met=met)
    text, schemas = _context_cost(with_relay[0], without[0])
    met = text <= CONTEXT_BYTES
    report(f"added to the first request, {name}", f"{text} bytes", f"<= {CONTEXT_BYTES}", met=met)
    met = schemas <= SCHEMA_BYTES
    report(f"the tools' schemas, {name}", f"{schemas} bytes", f"<= {SCHEMA_BYTES}", met=met)


@contextmanager
def _bare(stack: Stack, name: CliName) -> Iterator[Terminal]:
    """The same provider without the relay; Codex with an app-server and the policy of `open`."""
    environment, project = stack.environment(name), stack.home.project
    argv = [str(find_cli(name))]
    if name != "codex":
        with Terminal(argv, environment, project) as terminal:
            yield terminal
        return
    socket = stack.home.runtime / "bare.sock"
    listening = [*argv, "app-server", "--listen", f"unix://{socket}"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(listening, env=environment, cwd=project, stderr=quiet) as server:
        eventually(socket.is_socket, 20)
        try:
            joining = [*argv, "--remote", f"unix://{socket}", "-a", "never"]
            with Terminal([*joining, "-s", "workspace-write"], environment, project) as terminal:
                yield terminal
        finally:
            server.terminate()


def _turn(model: StandIn) -> list[Recorded]:
    """The model requests of the one turn there was."""
    model.wait_for(lambda request: request.main and ANSWER in str(request.step.action), 120)
    return model.main_requests


def _gaps(requests: list[Recorded]) -> list[float]:
    """From one tool call to the next; the first is left out, because it starts a shell."""
    times = [request.received_at for request in requests]
    return [later - earlier for earlier, later in pairwise(times[1:])]


def _context_cost(with_relay: Recorded, without: Recorded) -> tuple[int, int]:
    """Bytes the relay adds to a request: its texts, and the schemas of its tools."""
    theirs = {_size(tool) for tool in without.body["tools"]}
    ours = [tool for tool in with_relay.body["tools"] if "relay" in json.dumps(tool)]
    schemas = sum(_size(tool) for tool in ours if _size(tool) not in theirs)
    tools = _size(with_relay.body["tools"]) - _size(without.body["tools"])
    return _size(with_relay.body) - _size(without.body) - tools, schemas


def _size(content: object) -> int:
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def _holds(number: int) -> Callable[[Recorded], bool]:
    return lambda request: request.main and number in request.message_ids()


@contextmanager
def _stack() -> Iterator[Stack]:
    """Relay, daemon and stand-ins in a home of their own."""
    with StandInOpenAI() as openai, StandInAnthropic() as anthropic:
        models: dict[str, StandIn] = {"codex": openai, "claude": anthropic}
        with IsolatedHome(openai, anthropic) as home:
            stack = Stack.on_free_port(home, models)
            try:
                yield stack
            finally:
                stack.close()
                end_all(MARKER, str(home.path))
