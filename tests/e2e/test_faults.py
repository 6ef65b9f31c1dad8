"""Whatever is hit, however, whenever: the outcome is the one in the table of `tests.e2e.faults`.

`AGENT_RELAY_TEST_FAULTS=all` (as `scripts/faults` sets it) runs every cell, with a SIGSTOP of 30 s;
otherwise each component, fault and program is tried in one state, and stopped for 5 s.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.faults import Cell, Component, Fault, Outcome, State, all_cells, spread_cells
from tests.e2e.stack import Session, Stack, tool
from tests.support.providers import find_cli
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(240)]

_IS_FULL = os.environ.get("AGENT_RELAY_TEST_FAULTS") == "all"
_STOP_SECONDS = 30.0 if _IS_FULL else 5.0
_GONE_SECONDS = 5.0
_SIGNALS = {Fault.EXIT: signal.SIGINT, Fault.TERM: signal.SIGTERM, Fault.KILL: signal.SIGKILL}
_UNASKED = ("--permission-mode", "default", "--allowedTools", "Bash")
# Ctrl-C is the provider's: a launcher that gets it alone leaves it alone.
_LAUNCHER_EXIT = signal.SIGHUP


@dataclass
class _Scene:
    """A session in the state a fault finds it in."""

    stack: Stack
    session: Session
    cell: Cell
    before: int
    """A message it has had."""

    @property
    def made(self) -> Path:
        """What its command makes, once it may."""
        return self.stack.home.project / "made"

    def processes(self) -> list[psutil.Process]:
        """Those that are hit. None for a terminal, which is the test's own."""
        launcher = psutil.Process(self.session.terminal.pid)
        program = str(find_cli(self.session.name).resolve())
        own = [each for each in launcher.children() if each.exe() == program]
        of = {
            Component.PROVIDER: lambda: [each for each in own if not _is_app_server(each)],
            Component.APP_SERVER: lambda: [each for each in own if _is_app_server(each)],
            Component.LAUNCHER: lambda: [launcher],
            Component.DAEMON: lambda: [self.stack.daemon()],
            Component.RELAY: lambda: [self.stack.relay()],
            Component.PIPE: lambda: [each for each in self.stack.of_sessions() if _is_pipe(each)],
            Component.TERMINAL: list[psutil.Process],
        }
        return of[self.cell.component]()


def _is_app_server(process: psutil.Process) -> bool:
    return "app-server" in process.cmdline()


def _is_pipe(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[-1].endswith("mcp_pipe.py")
    except (psutil.Error, IndexError):
        return False


@pytest.mark.parametrize("cell", list(all_cells() if _IS_FULL else spread_cells()), ids=str)
def test_a_session_comes_through_it_as_the_table_says(stack: Stack, cell: Cell) -> None:
    scene = _set(stack, cell)

    with _hit(scene):
        during = _send_if_possible(scene)

    if cell.outcome is Outcome.ENDS_ANSWERED:
        _answer(scene, "deny")
    if cell.outcome in (Outcome.ENDS, Outcome.ENDS_ANSWERED):
        _expect_the_end(scene)
    else:
        _expect_it_goes_on(scene, during)


# --- before ---


def _set(stack: Stack, cell: Cell) -> _Scene:
    """A session in its cell's state, which has had one message."""
    is_guarded = cell.state is State.WAITING
    # Only with these does Claude Code run a command without a dialog.
    unasked = () if cell.cli == "codex" or is_guarded else _UNASKED
    mode = ("--approval", "guarded" if is_guarded else "open")
    session = stack.session(cell.cli, *unasked, options=mode)
    before = stack.send(session.id, "before")
    stack.wait_until_in_context(before)
    eventually(lambda: stack.agent(session.id)["status"] == "idle", 20)
    scene = _Scene(stack, session, cell, before)
    shell = "shellesc" if cell.cli == "codex" and is_guarded else "shell"
    if cell.state is State.BUSY:
        session.terminal.submit(
            f"[[{shell}: touch begun; until test -e go; do sleep 0.1; done; touch made]]"
            " [[say: finished]]"
        )
        eventually((stack.home.project / "begun").exists, 30, message=session.terminal.screen)
        eventually(lambda: stack.agent(session.id)["status"] == "busy", 20)
    elif cell.state is State.WAITING:
        session.terminal.submit(f"[[{shell}: touch made]] [[say: finished]]")
        eventually(lambda: stack.agent(session.id)["status"] == "waiting", 30)
        eventually(lambda: _pending(scene), 20)
    return scene


def _pending(scene: _Scene) -> list[int]:
    """The questions of the session that a person may answer at the relay."""
    answer = scene.stack.client.get("/api/approvals", params={"status": "pending"})
    approvals = answer.raise_for_status().json()["approvals"]
    return [each["id"] for each in approvals if each["agentId"] == scene.session.id]


# --- the fault ---


@contextmanager
def _hit(scene: _Scene) -> Iterator[None]:
    """The fault; a stopped process goes on after the block."""
    cell, terminal = scene.cell, scene.session.terminal
    if cell.fault is Fault.STOP:
        stopped = scene.processes()
        terminal.freeze() if cell.component is Component.TERMINAL else None
        for process in stopped:
            process.suspend()
        yield
        # The one wait for time in these tests: that it hangs for so long is the fault.
        time.sleep(_STOP_SECONDS)
        for process in stopped:
            process.resume()
        terminal.thaw()
        return
    if cell.component is Component.TERMINAL:
        terminal.hang_up()
    elif cell.component is Component.PROVIDER and cell.fault is Fault.EXIT:
        _leave(scene)
    else:
        hit = scene.processes()
        assert hit, f"there is no {cell.component}"
        is_launcher_exit = cell.component is Component.LAUNCHER and cell.fault is Fault.EXIT
        signum = _LAUNCHER_EXIT if is_launcher_exit else _SIGNALS[cell.fault]
        for process in hit:
            process.send_signal(signum)
        if cell.component is not Component.LAUNCHER and cell.outcome is not Outcome.ENDS_ANSWERED:
            psutil.wait_procs(hit, timeout=10)
    if cell.component is Component.RELAY:
        yield
        scene.stack.relay_agentd("up")
        return
    yield


def _leave(scene: _Scene) -> None:
    """The provider's own way out, from wherever it is."""
    terminal = scene.session.terminal
    if scene.cell.state is not State.IDLE:
        terminal.press("Escape")
        eventually(lambda: scene.stack.agent(scene.session.id)["status"] == "idle", 20)
    terminal.submit("/quit" if scene.session.name == "codex" else "/exit")


def _send_if_possible(scene: _Scene) -> int | None:
    """Mail while the fault lasts; the relay itself may be what is hit."""
    if scene.cell.component is Component.RELAY:
        return None
    return scene.stack.send(scene.session.id, "during")


# --- after ---


def _answer(scene: _Scene, decision: str) -> None:
    """As a person at the relay."""
    (asked,) = eventually(lambda: _pending(scene), 30)
    scene.stack.client.post(
        f"/api/approvals/{asked}/decision", json={"decision": decision}
    ).raise_for_status()


def _expect_the_end(scene: _Scene) -> None:
    stack, agent_id = scene.stack, scene.session.id
    began = time.monotonic()
    eventually(lambda: stack.agent(agent_id)["status"] == "offline", _GONE_SECONDS)
    stack.expect_no_session_left(max(0.1, _GONE_SECONDS - (time.monotonic() - began)))
    assert _pending(scene) == []
    assert not scene.made.exists()
    after = stack.send(agent_id, "after")
    receipts = stack.client.get(f"/api/messages/{after}").raise_for_status().json()["receipts"]
    assert [receipt["state"] for receipt in receipts] in ([], ["stored"])


def _expect_it_goes_on(scene: _Scene, during: int | None) -> None:
    stack, session = scene.stack, scene.session
    if scene.cell.state is State.BUSY:
        (stack.home.project / "go").touch()
    elif scene.cell.state is State.WAITING:
        _answer(scene, "allow")
    if scene.cell.state is not State.IDLE:
        eventually(scene.made.exists, 40, message=session.terminal.screen)
        session.terminal.wait_for_text("^. finished", within=40)
    after = stack.send(session.id, "after")
    expected = [scene.before, *([during] if during else []), after]
    stack.wait_until_in_context(after, within=40)
    eventually(
        lambda: session.model.message_ids() == expected,
        20,
        message=lambda: f"expected {expected}, in context: {session.model.message_ids()}",
    )
    eventually(lambda: stack.agent(session.id)["status"] == "idle", 20)
    if scene.cell.outcome is Outcome.GOES_ON:
        session.terminal.submit(tool("relay_send", to="operator", body="alive"))
        session.model.wait_for(lambda request: "Sent as message" in str(request.step), within=40)
