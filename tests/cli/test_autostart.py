"""Relay and daemon are started when they are needed, once, and nothing of a session leaks in."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.cli.machine import Machine
from tests.support.ports import free_port
from tests.support.processes import marked
from tests.support.providers import MARKER
from tests.support.wait import eventually


def background(machine: Machine) -> list[str]:
    """The modules that serve on this machine."""
    return sorted(
        process.cmdline()[2]
        for process in marked(MARKER, str(machine.home.path))
        if process.cmdline()[3:] == ["serve"]
    )


@contextmanager
def listening(port: int, handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[None]:
    """Another program at the relay's port."""
    with http.server.HTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


class NoRelay(http.server.BaseHTTPRequestHandler):
    """Some other web server."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


def test_up_starts_relay_and_daemon_and_says_what_next(machine: Machine) -> None:
    first, again = machine.run("up"), machine.run("up")

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout.count("started") == 2
    assert again.stdout.count("already running") == 2
    assert machine.url in again.stdout
    assert background(machine) == ["relay_agentd", "relay_server"]


def test_several_at_once_start_each_program_once(machine: Machine) -> None:
    starters = [machine.start("up") for _ in range(4)]
    said = [starter.communicate(timeout=30)[1] for starter in starters]

    assert [starter.returncode for starter in starters] == [0, 0, 0, 0], said
    eventually(lambda: background(machine) == ["relay_agentd", "relay_server"])


def test_down_ends_exactly_what_was_started_here(machine: Machine) -> None:
    with socket.socket() as bystander:
        bystander.bind(("127.0.0.1", 0))
        machine.run("up")
        down = machine.run("down")

    assert down.returncode == 0
    assert down.stdout.count("stopped") == 2
    assert background(machine) == []
    assert "Nothing" in machine.run("down").stdout


def test_down_never_signals_a_process_that_took_over_a_pid(machine: Machine) -> None:
    records = machine.home.path / ".local" / "state" / "agent-relay" / "started"
    records.mkdir(parents=True)
    (records / f"relay_server@{os.getpid()}@1.0").touch()

    assert "Nothing" in machine.run("down").stdout
    assert psutil.Process().is_running()


def test_down_does_not_pull_the_relay_from_under_a_session(machine: Machine) -> None:
    with machine.terminal("run", "stand-in") as window:
        window.wait_for_text("READY")
        agent = machine.a_session()["agentId"]
        refused = machine.run("down")
        forced = machine.run("down", "--force")

        assert refused.returncode == 1
        assert agent in refused.stderr
        assert forced.returncode == 0
        assert window.exit_status() == 143
    assert background(machine) == []


def test_background_programs_get_no_keys_of_providers_and_no_session(machine: Machine) -> None:
    machine.run("up", OPENAI_API_KEY="secret-1", AGENT_RELAY_SESSION="0123456789abcdef")

    for process in marked(MARKER, str(machine.home.path)):
        environment = process.environ()
        assert "AGENT_RELAY_SESSION" not in environment
        assert not {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "STANDIN_KEY"} & environment.keys()


def test_no_autostart_starts_nothing(machine: Machine) -> None:
    done = machine.run("run", "--no-autostart", "stand-in")

    assert done.returncode == 3
    assert "not reachable" in done.stderr
    assert background(machine) == []


def test_port_of_another_program_is_reported_with_its_name(machine: Machine) -> None:
    with listening(machine.port, NoRelay):
        done = machine.run("up")

    assert done.returncode == 3
    assert f"(pid {os.getpid()})" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert background(machine) == []


def test_relay_elsewhere_that_is_not_there_is_reported_and_not_started(machine: Machine) -> None:
    # The name is reserved to mean nothing anywhere.
    done = machine.run("up", AGENT_RELAY_URL=f"http://relay.invalid:{free_port()}")

    assert done.returncode == 3
    assert "not reachable" in done.stderr
    assert "relay-agentd up" not in done.stderr
    assert background(machine) == []


def test_program_that_cannot_start_is_reported_with_its_last_words(machine: Machine) -> None:
    database = machine.home.path / "corrupt.db"
    database.write_bytes(b"no database at all" * 100)

    done = machine.run("up", AGENT_RELAY_DB=str(database))

    assert done.returncode == 3
    assert "corrupt" in done.stderr
    assert ".local/state/agent-relay/logs/relay-server.out" in done.stderr


def test_daemon_of_another_relay_is_not_used_silently(machine: Machine) -> None:
    assert machine.run("up").returncode == 0

    done = machine.run("up", AGENT_RELAY_URL=f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert machine.url in done.stderr


@pytest.mark.parametrize("found", ["3.10.2", None])
def test_script_up_says_which_python_it_needs(machine: Machine, found: str | None) -> None:
    done = machine.run_script("up", python=found)

    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert (found or "no Python") in done.stderr
