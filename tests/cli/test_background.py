"""Sessions without a terminal as a person handles them: run, ps, logs, attach, stop."""

import json
import os
import signal
from typing import Any

import psutil
import pytest

from tests.cli.machine import Machine
from tests.support.wait import eventually

_PROGRAM = "stand-in"


def _start(machine: Machine, *options: str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    done = machine.run("run", "--background", *options, "--json", _PROGRAM, "--", *arguments)
    assert done.returncode == 0, done.stderr
    started: dict[str, Any] = json.loads(done.stdout)
    return started


def _listed(machine: Machine, agent_id: str) -> dict[str, Any]:
    return next(each for each in machine.sessions() if each["agentId"] == agent_id)


def test_run_in_the_background_starts_what_is_missing_and_says_how_to_follow(
    machine: Machine,
) -> None:
    done = machine.run("run", "--background", "--prompt", "begin", "--label", "bg", _PROGRAM)

    assert done.returncode == 0, done.stderr
    agent_id = done.stdout.strip()
    assert f"relay-agentd logs -f {agent_id}" in done.stderr
    session = _listed(machine, agent_id)
    assert (session["kind"], session["state"], session["label"]) == ("background", "RUNNING", "bg")
    shown = eventually(lambda: machine.run("logs", "bg").stdout, 10)
    assert shown.split() == ["agent", "begin"]
    host = psutil.Process(session["pid"])

    stopped = machine.run("stop", "bg")

    assert stopped.returncode == 0, stopped.stderr
    assert not host.is_running()
    assert machine.sessions() == []
    assert "begin" in machine.run("logs", agent_id).stdout
    machine.run("down")


def test_killed_session_is_shown_with_its_restarts_and_keeps_its_id(running: Machine) -> None:
    agent_id = _start(running)["agentId"]
    before = _listed(running, agent_id)["pid"]

    os.kill(before, signal.SIGKILL)

    def restarted() -> Any:
        session = _listed(running, agent_id)
        return session["state"] == "RUNNING" and session["pid"] != before

    eventually(restarted, 10)
    assert "started again 1 time" in running.run("ps").stdout
    assert running.run("stop", agent_id).returncode == 0


def test_session_that_cannot_be_started_is_one_line_of_why(running: Machine) -> None:
    for arguments, said in (
        (("broken-helper",), "the helper cannot start today"),
        (("plain",), "not plain in the background"),
    ):
        done = running.run("run", "--background", _PROGRAM, "--", *arguments)
        assert done.returncode == 4, done.stdout
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    unknown = running.run("run", "--background", "nobody")
    assert unknown.returncode == 2
    assert "there are:" in unknown.stderr
    assert running.sessions() == []


@pytest.mark.parametrize("option", [("--prompt", "x"), ("--json",)])
def test_options_of_the_background_need_it(running: Machine, option: tuple[str, ...]) -> None:
    done = running.run("run", *option, _PROGRAM)

    assert done.returncode == 2
    assert "--background" in done.stderr


def test_attach_shows_what_happens_sends_what_is_typed_and_leaves_the_session(
    running: Machine,
) -> None:
    agent_id = _start(running, "--prompt", "the very first")["agentId"]
    with running.terminal("attach", agent_id) as terminal:
        terminal.wait_for_text("the very first")
        terminal.submit("how far are you?")
        terminal.wait_for_text(r"\[msg:\d+\] from operator")

        terminal.write("\x03")

        terminal.wait_for_text(f"it goes on: relay-agentd attach {agent_id}")
        assert terminal.exit_status() == 0
    assert _listed(running, agent_id)["state"] == "RUNNING"
    assert running.run("stop", agent_id).returncode == 0


def test_following_ends_with_the_session(running: Machine) -> None:
    agent_id = _start(running, "--prompt", "a line \x1b[2J of its own")["agentId"]
    follower = running.start("logs", "-f", agent_id)
    eventually(lambda: "of its own" in running.run("logs", agent_id).stdout, 10)

    assert running.run("stop", agent_id).returncode == 0

    out, _ = follower.communicate(timeout=10)
    assert follower.returncode == 0
    assert "a line <U+001B>[2J of its own" in out


def test_what_is_not_there_to_look_at_is_said(running: Machine) -> None:
    agent_id = _start(running)["agentId"]
    running.run("stop", agent_id)

    for argv, said in (
        (("logs", "nobody"), "ever called 'nobody'"),
        (("attach", "nobody"), "ever called 'nobody'"),
        (("attach", agent_id), "does not run in the background"),
    ):
        done = running.run(*argv)
        assert done.returncode != 0
        assert said in done.stderr
