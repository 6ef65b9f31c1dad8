"""However a session ends: soon it is offline, and nothing of it is left on the machine."""

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.e2e.stack import Session, Stack
from tests.support.processes import describe
from tests.support.providers import CliName, find_cli
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

PROVIDERS: list[CliName] = ["codex", "claude-2.1.197", "claude-2.1.330"]
SECONDS = 5.0


def _provider(session: Session) -> psutil.Process:
    """The provider's process in the terminal, not its helper."""
    program = str(find_cli(session.name).resolve())
    children = psutil.Process(session.terminal.pid).children()
    return next(
        each for each in children if each.exe() == program and "app-server" not in each.cmdline()
    )


def _leave(session: Session) -> None:
    session.terminal.submit("/quit" if session.name == "codex" else "/exit")


def _terminate_provider(session: Session) -> None:
    _provider(session).terminate()


def _kill_provider(session: Session) -> None:
    _provider(session).kill()


def _terminate_launcher(session: Session) -> None:
    psutil.Process(session.terminal.pid).terminate()


def _kill_launcher(session: Session) -> None:
    psutil.Process(session.terminal.pid).kill()


def _close_terminal(session: Session) -> None:
    session.terminal.hang_up()


ENDINGS = [
    _leave,
    _terminate_provider,
    _kill_provider,
    _terminate_launcher,
    _kill_launcher,
    _close_terminal,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__.strip("_"))
@pytest.mark.parametrize("name", PROVIDERS)
def test_nothing_is_left_of_a_session_that_ended_by(
    stack: Stack, name: CliName, ending: Callable[[Session], None]
) -> None:
    session = stack.session(name)
    # A session that has worked has more to leave behind: hooks, helpers, tool processes.
    session.terminal.submit("[[shell: echo worked]] [[say: finished]]")
    session.terminal.wait_for_text("^. finished")

    ending(session)

    started = time.monotonic()
    eventually(lambda: stack.agent(session.id)["status"] == "offline", SECONDS)
    stack.expect_no_session_left(SECONDS - (time.monotonic() - started))


# Only with these does it run commands without a dialog.
UNASKED = {
    "codex": (),
    "claude-2.1.197": ("--permission-mode", "default", "--allowedTools", "Bash"),
    "claude-2.1.330": ("--permission-mode", "default", "--allowedTools", "Bash"),
}


@pytest.mark.parametrize("ending", [_kill_provider, _kill_launcher])
@pytest.mark.parametrize("name", PROVIDERS)
def test_nothing_is_left_of_a_session_killed_in_the_middle_of_a_command(
    stack: Stack, name: CliName, ending: Callable[[Session], None]
) -> None:
    session = stack.session(name, *UNASKED[name])
    session.terminal.submit("[[shell: tail -f /dev/null]]")
    eventually(lambda: "tail -f /dev/null" in describe(stack.of_sessions()), 20)

    ending(session)

    started = time.monotonic()
    eventually(lambda: stack.agent(session.id)["status"] == "offline", SECONDS)
    stack.expect_no_session_left(SECONDS - (time.monotonic() - started))


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_exit_status_is_the_providers(stack: Stack, name: CliName) -> None:
    session = stack.session(name)

    _kill_provider(session)

    assert session.terminal.exit_status() == 128 + signal.SIGKILL


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_session_outlives_its_daemon_and_the_next_one_delivers_to_it(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name)
    first = stack.send(session.id, "before")
    stack.wait_until_in_context(first)

    daemon = stack.daemon()
    daemon.kill()
    daemon.wait(5)
    second = stack.send(session.id, "after")

    stack.wait_until_in_context(second, within=40)
    eventually(lambda: session.model.message_ids() == [first, second], 20)
    assert stack.daemon().pid != daemon.pid
    assert [agent["id"] for agent in stack.online(session.agent["provider"])] == [session.id]
