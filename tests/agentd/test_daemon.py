"""The daemon as a program: one a home, its control socket, bad input, an orderly stop."""

import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from relay_agentd.clock import monotonic
from relay_agentd.control import LONGEST_LINE
from relay_agentd.control_client import ControlClient
from relay_agentd.errors import ControlRefused, DaemonUnreachable
from relay_agentd.paths import Paths, make_private
from tests.agentd.harness import KEY, Processes, identity
from tests.support.wait import eventually

NOWHERE = "http://127.0.0.1:1"


class DaemonProcess:
    """`python -m relay_agentd serve` in the test's own home, without a relay."""

    def __init__(self) -> None:
        self.paths = Paths.default()
        self.client = ControlClient(self.paths.control_socket)
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Start it, whatever becomes of it."""
        environment = {
            **os.environ,
            "AGENT_RELAY_URL": NOWHERE,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay_agentd", "serve"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return self.process

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.spawn()
        eventually(self.answers, within=20)

    def answers(self) -> bool:
        """Does it?"""
        try:
            return bool(self.client.call("ping")["pid"])
        except DaemonUnreachable:
            return False

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """A running daemon."""
    running = DaemonProcess()
    running.start()
    yield running
    running.end()


def _opening(processes: Processes, cwd: Path) -> dict[str, Any]:
    return {
        "key": KEY,
        "provider": "claude",
        "providerVersion": "2.1.330",
        "cwd": str(cwd),
        "approval": "open",
        "label": None,
        "tags": [],
        "capabilities": ["chat"],
        "channels": [],
        "arguments": [],
        "launcher": identity(processes.start()),
    }


def test_ping_says_who_answers_and_how_it_stands_with_the_relay(daemon: DaemonProcess) -> None:
    answer = daemon.client.call("ping")

    assert daemon.process is not None
    assert answer["pid"] == daemon.process.pid
    assert answer["url"] == NOWHERE
    assert answer["relay"] == "connecting"
    assert answer["sessions"] == 0


def test_launcher_is_told_to_go_on_when_the_tools_can_be_served(
    daemon: DaemonProcess, processes: Processes, tmp_path: Path
) -> None:
    with daemon.client.connect() as connection:
        connection.call("session.open", **_opening(processes, tmp_path))
        began = monotonic()
        connection.call("session.plan", sessionId="s", approvalOverrides=[])
        waited = monotonic() - began

        # A machine that is too busy for it starts the provider all the same.
        assert connection.call("ping")["tools"] == "ready" or waited >= 3.0


def test_second_daemon_of_a_home_names_the_first_and_exits_4(daemon: DaemonProcess) -> None:
    second = DaemonProcess()
    process = second.spawn()
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 4
    assert daemon.process is not None
    assert f"pid {daemon.process.pid}" in output.decode()
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stopped_daemon_exits_0_and_leaves_no_socket(
    daemon: DaemonProcess, signum: signal.Signals
) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(signum)

    assert daemon.process.wait(10) == 0
    assert not daemon.paths.control_socket.exists()


def test_socket_and_folders_are_private(daemon: DaemonProcess) -> None:
    assert daemon.paths.control_socket.stat().st_mode & 0o777 == 0o600
    assert daemon.paths.runtime.stat().st_mode & 0o777 == 0o700
    assert daemon.paths.daemon_log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", "invalid_request"),
        (b"[]\n", "invalid_request"),
        (b"\xff\xfe\n", "invalid_request"),
        (b"[" * 100_000 + b"\n", "invalid_request"),
        (b"{}\n", "unknown_op"),
        (b'{"op": "session.plan"}\n', "no_session"),
        (b'{"op": "session.open", "key": "../x"}\n', "invalid_request"),
        (b'{"op": "hook", "session": "nobody"}\n', "unknown_session"),
        (b'{"op": "bell", "session": {}}\n', "unknown_session"),
        (b'{"op": "mcp", "session": "nobody", "instance": "x"}\n', "unknown_session"),
        (b'{"op": "stop"}\n', "unknown_session"),
        (b"x" * (LONGEST_LINE + 10), "too_long"),
    ],
)
def test_bad_line_gets_one_error_and_the_daemon_goes_on(
    daemon: DaemonProcess, line: bytes, code: str
) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.paths.control_socket))
        peer.settimeout(10)
        peer.sendall(line)
        with peer.makefile("rb") as lines:
            answer = json.loads(lines.readline())

    assert answer["ok"] is False
    assert answer["error"]["code"] == code
    assert daemon.answers()


def test_peer_that_vanishes_in_the_middle_of_a_line_does_no_harm(daemon: DaemonProcess) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(daemon.paths.control_socket))
            peer.sendall(b'{"op": "pi')

    assert daemon.answers()


def test_session_of_a_killed_daemon_is_attached_to_the_next(
    daemon: DaemonProcess, processes: Processes, tmp_path: Path
) -> None:
    opening = _opening(processes, tmp_path)
    provider = processes.start()
    with daemon.client.connect() as link:
        folder = Path(link.call("session.open", **opening)["folder"])
        link.call("session.plan", sessionId=None, approvalOverrides=["-a never"])
        link.call("session.provider", process=identity(provider))
        assert link.is_open()
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.communicate()
        eventually(lambda: not link.is_open())

    daemon.start()
    with daemon.client.connect() as link:
        again = link.call("session.attach", **opening, providerProcess=identity(provider))

        assert Path(again["folder"]) == folder
        assert folder.is_dir()
        sessions = daemon.client.call("ps")["sessions"]
        assert [(each["key"], each["state"]) for each in sessions] == [(KEY, "RUNNING")]
        assert provider.poll() is None

        link.call("session.closed", exitStatus=0, timeout=20)
    assert not folder.exists()
    assert provider.wait(5) != 0


def test_opening_a_session_twice_or_for_an_unknown_provider_is_refused(
    daemon: DaemonProcess, processes: Processes, tmp_path: Path
) -> None:
    opening = _opening(processes, tmp_path)
    with daemon.client.connect() as link:
        link.call("session.open", **opening)
        with pytest.raises(ControlRefused) as twice:
            daemon.client.call("session.open", **opening)
        other = {**opening, "key": "00000000000000cc", "provider": "emacs"}
        with pytest.raises(ControlRefused) as unknown:
            daemon.client.call("session.open", **other)

    assert twice.value.code == "session_exists"
    assert unknown.value.code == "unknown_provider"
    assert "claude" in unknown.value.detail


def test_damaged_database_is_refused_in_one_line() -> None:
    daemon = DaemonProcess()
    daemon.paths.state.mkdir(parents=True)
    daemon.paths.database.write_bytes(b"nonsense" * 1000)

    process = daemon.spawn()
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 3
    assert len(output.splitlines()) == 1
    assert b"agentd.db" in output


def test_daemon_that_cannot_write_makes_place_for_one_that_can(
    daemon: DaemonProcess, processes: Processes, tmp_path: Path
) -> None:
    assert daemon.process is not None
    holder = sqlite3.connect(daemon.paths.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with daemon.client.connect() as connection, pytest.raises((ControlRefused, DaemonUnreachable)):
        connection.call("session.open", **_opening(processes, tmp_path))

    assert daemon.process.wait(20) == 3
    holder.close()
    assert daemon.process.stdout is not None
    assert b"database is locked" in daemon.process.stdout.read()


def test_daemon_started_while_another_still_stops_takes_its_place() -> None:
    stopping = DaemonProcess()
    make_private(stopping.paths.state)
    with stopping.paths.lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        nxt = DaemonProcess()
        process = nxt.spawn()
        # It is seen to wait for the lock: it sleeps with the file open.
        eventually(lambda: _has_open(process.pid, stopping.paths.lock_file), within=20)
        assert process.poll() is None
    try:
        eventually(nxt.answers, within=20)
    finally:
        nxt.end()


def _has_open(pid: int, file: Path) -> bool:
    return any(each.path == str(file.resolve()) for each in psutil.Process(pid).open_files())


def test_newer_database_is_refused_in_one_line() -> None:
    daemon = DaemonProcess()
    daemon.paths.state.mkdir(parents=True)
    connection = sqlite3.connect(daemon.paths.database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    process = daemon.spawn()
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 3
    assert b"newer version" in output
