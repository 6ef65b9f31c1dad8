"""`run` leaves the provider's terminal behaviour and exit status untouched, and nothing behind."""

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.cli.machine import Machine
from tests.support.processes import describe
from tests.support.providers import MARKER
from tests.support.terminal import Terminal
from tests.support.wait import eventually

READY = r"READY (\d+)"


def provider_pid(window: Terminal) -> int:
    """Of the stand-in that shows it in the window."""
    found = re.search(READY, window.wait_for_text(READY))
    assert found
    return int(found[1])


def of_sessions(machine: Machine) -> list[psutil.Process]:
    """What sessions of this machine have started and still runs."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get(MARKER) != str(machine.home.path):
                continue
            if "AGENT_RELAY_SESSION" in environment and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


def folders(machine: Machine) -> list[Path]:
    """The private folders of sessions."""
    return list(machine.home.runtime.glob("**/s-*/*"))


def expect_nothing_left(machine: Machine) -> None:
    """No session, process or folder within the promised five seconds."""
    eventually(
        lambda: not of_sessions(machine) and not folders(machine) and not machine.sessions(),
        5.0,
        message=lambda: f"left: {describe(of_sessions(machine))} {folders(machine)}",
    )


@pytest.mark.parametrize("status", [0, 7])
def test_exit_status_is_the_providers(running: Machine, status: int) -> None:
    done = running.run("run", "stand-in", "--", "exit", str(status))

    assert done.returncode == status
    assert done.stderr == ""
    expect_nothing_left(running)


def test_provider_killed_by_a_signal_ends_as_a_shell_reports_it(running: Machine) -> None:
    with running.terminal("run", "stand-in") as window:
        os.kill(provider_pid(window), signal.SIGKILL)

        assert window.exit_status() == 128 + signal.SIGKILL
    expect_nothing_left(running)


def test_session_knows_its_session_and_not_the_relays_token(running: Machine) -> None:
    report = running.home.path / "environment.json"

    done = running.run(
        "run", "stand-in", "--", "environment", str(report), AGENT_RELAY_TOKEN="the-token"
    )

    assert done.returncode == 0, done.stderr
    environment = json.loads(report.read_text())
    assert re.fullmatch("[0-9a-f]{16}", environment["AGENT_RELAY_SESSION"])
    assert Path(environment["AGENT_RELAY_CONTROL"]).is_socket()
    assert environment["AGENT_RELAY_SESSION_DIR"].endswith(environment["AGENT_RELAY_SESSION"])
    assert "AGENT_RELAY_TOKEN" not in environment
    assert "the-token" not in environment.values()


def test_running_session_is_listed_with_what_describes_it(running: Machine) -> None:
    options = ("--label", "backend", "--tag", "shop", "--approval", "read-only")
    with running.terminal("run", *options, "stand-in") as window:
        pid = provider_pid(window)
        session = running.a_session()

        assert session["pid"] == pid
        assert session["label"] == "backend"
        assert session["approval"] == "read-only"
        assert session["provider"] == "stand-in"
        os.kill(pid, signal.SIGTERM)
        assert window.exit_status() == 128 + signal.SIGTERM
    expect_nothing_left(running)


def test_ctrl_c_reaches_the_provider_and_only_the_provider(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "signals") as window:
        window.wait_for_text(READY)
        window.press("C-c")
        window.wait_for_text("NOTED SIGINT$")
        window.press("C-d")

        assert window.exit_status() == 9
    expect_nothing_left(running)


def test_term_to_the_launcher_reaches_the_provider_once(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "signals") as window:
        window.wait_for_text(READY)
        os.kill(window.pid, signal.SIGTERM)
        window.wait_for_text("NOTED SIGTERM$")
        os.kill(window.pid, signal.SIGTERM)
        window.press("C-c")
        window.wait_for_text("NOTED SIGTERM SIGINT$")
        window.press("C-d")

        assert window.exit_status() == 9
    expect_nothing_left(running)


def test_killed_launcher_takes_provider_and_helper_along(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "with-helper", "wait") as window:
        window.wait_for_text(READY)
        assert len(of_sessions(running)) == 2
        os.kill(window.pid, signal.SIGKILL)

        expect_nothing_left(running)


def test_killed_launcher_takes_all_along_without_a_daemon_too(machine: Machine) -> None:
    with machine.terminal("run", "stand-in", "--", "with-helper", "wait") as window:
        window.wait_for_text(READY)
        machine.kill_daemon()
        os.kill(window.pid, signal.SIGKILL)

        eventually(lambda: not of_sessions(machine), 5.0)


def test_closed_terminal_ends_the_session(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "with-helper", "wait") as window:
        window.wait_for_text(READY)
        window.hang_up()

        expect_nothing_left(running)


def test_helper_ends_with_the_session(running: Machine) -> None:
    done = running.run("run", "stand-in", "--", "with-helper", "exit", "4")

    assert done.returncode == 4
    expect_nothing_left(running)


def test_helper_that_does_not_start_is_reported_with_its_last_words(running: Machine) -> None:
    done = running.run("run", "stand-in", "--", "with-helper", "broken-helper")

    assert done.returncode == 1
    assert "helper" in done.stderr
    assert "cannot start today" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    expect_nothing_left(running)


def test_helper_that_ignores_term_is_killed(running: Machine) -> None:
    done = running.run("run", "stand-in", "--", "with-helper", "stubborn-helper")

    assert done.returncode == 0
    assert of_sessions(running) == []
    expect_nothing_left(running)


def test_launcher_ended_while_it_starts_leaves_nothing(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "with-helper", "silent-helper") as window:
        eventually(lambda: of_sessions(running), 10.0)
        os.kill(window.pid, signal.SIGTERM)

        assert window.exit_status() == 128 + signal.SIGTERM
    expect_nothing_left(running)


def test_ctrl_c_while_it_starts_leaves_nothing(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "with-helper", "silent-helper") as window:
        eventually(lambda: of_sessions(running), 10.0)
        window.press("C-c")

        assert window.exit_status() == 130
    expect_nothing_left(running)


def test_ctrl_z_and_fg_work_with_a_program_that_stops_itself(running: Machine) -> None:
    with running.shell() as window:
        window.wait_for_text("shell>")
        window.write("relay-agentd run stand-in -- full-screen\n")
        window.wait_for_text(READY)
        window.press("C-z")
        window.wait_for_text("Stopped")
        window.write("echo $((40 + 2)) jobs\n")
        window.wait_for_text("42 jobs")
        window.write("fg\n")
        window.wait_for_text(READY)
        window.press("x")
        window.wait_for_text("KEY b'x'")
        window.press("q")
        window.write("echo status $?\n")

        window.wait_for_text("status 5")
        expect_nothing_left(running)


def test_ctrl_z_and_fg_work_with_a_program_the_terminal_stops(running: Machine) -> None:
    with running.shell() as window:
        window.wait_for_text("shell>")
        window.write("relay-agentd run stand-in -- lines\n")
        window.wait_for_text(READY)
        window.press("C-z")
        window.wait_for_text("Stopped")
        window.write("fg\n")
        window.write("hello\n")
        window.wait_for_text("GOT hello")
        window.press("C-d")
        window.write("echo status $?\n")

        window.wait_for_text("status 0")
        expect_nothing_left(running)


def test_terminal_is_usable_after_a_full_screen_program_was_killed(running: Machine) -> None:
    with running.shell() as window:
        window.wait_for_text("shell>")
        window.write("relay-agentd run stand-in -- full-screen\n")
        os.kill(provider_pid(window), signal.SIGKILL)
        window.wait_for_text("^shell>$")
        window.write("echo $((40 + 2)) again\n")

        # Typed text echoed, and a line feed that returns to the left edge: the modes are back.
        screen = window.wait_for_text(r"^42 again$")
        assert "echo $((40 + 2)) again" in screen


def test_window_size_changes_reach_the_provider(running: Machine) -> None:
    with running.terminal("run", "stand-in", "--", "full-screen") as window:
        window.wait_for_text(READY)
        window.resize(30, 90)
        window.press("x")
        window.wait_for_text("KEY b'x' 30x90")
        window.press("q")

        assert window.exit_status() == 5


def test_session_outlives_a_killed_daemon_and_is_known_to_the_next(machine: Machine) -> None:
    with machine.terminal("run", "stand-in", "--", "signals") as window:
        pid = provider_pid(window)
        machine.a_session()
        machine.kill_daemon()

        eventually(lambda: machine.run("ps").returncode == 0, 8.0)
        assert machine.a_session()["pid"] == pid
        window.press("C-d")
        assert window.exit_status() == 9
    expect_nothing_left(machine)


def test_missing_program_is_127_and_says_how_to_mend_it(machine: Machine) -> None:
    done = machine.run("run", "stand-in", STAND_IN_MISSING="1")

    assert done.returncode == 127
    assert done.stderr == "relay-agentd: the stand-in is not installed; unset STAND_IN_MISSING\n"


def test_unknown_provider_is_wrong_use_and_lists_the_known(machine: Machine) -> None:
    done = machine.run("run", "klaude")

    assert done.returncode == 2
    assert "klaude" in done.stderr
    assert "claude, codex, stand-in" in done.stderr


def test_working_folder_that_is_gone_is_reported_in_one_line(machine: Machine) -> None:
    with machine.shell() as shell:
        shell.submit("mkdir gone && cd gone && rmdir ../gone")
        shell.submit("relay-agentd run stand-in; echo status=$?")

        shown = shell.wait_for_text("status=2")

    assert "the current folder cannot be used: No such file or directory" in shown
    assert "Traceback" not in shown


def test_invocation_that_is_no_session_runs_untouched_and_starts_nothing(machine: Machine) -> None:
    done = machine.run("run", "stand-in", "--", "plain", "3")

    assert done.returncode == 3
    assert machine.run("ps").returncode == 3
