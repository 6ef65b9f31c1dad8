"""The host of a background session, as a real process with a stand-in for Claude Code in it."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from relay_agentd import stream_bridge
from tests.support.processes import end_all, expect_none, marked
from tests.support.wait import eventually

MARK = "BRIDGE_TEST"
BRIDGE = Path(stream_bridge.__file__)
STAND_IN = Path(__file__).with_name("stand_in_stream.py")

Message = dict[str, Any]


class Daemon:
    """A connection to the bridge."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")
        self.hello = self.read()

    def read(self) -> Message:
        """The next line; empty at the end."""
        line = self._lines.readline()
        message: Message = json.loads(line) if line else {}
        return message

    def read_until(self, kind: str, **fields: Any) -> Message:
        while message := self.read():
            if message["type"] == kind and fields.items() <= message.items():
                return message
        raise AssertionError(f"the bridge hung up before {kind} {fields}")

    def send(self, message: Message) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_what_is_taken(self, data: bytes) -> int:
        """Send until nothing more is taken; how much it was."""
        self._socket.settimeout(0.5)
        taken = 0
        try:
            while taken < len(data):
                taken += self._socket.send(data[taken:])
        except TimeoutError:
            pass
        self._socket.settimeout(10)
        return taken

    def say(self, text: str) -> str:
        """Send a user message; its uuid."""
        identifier = str(uuid.uuid4())
        self.send({"type": "user", "uuid": identifier, "message": {"content": text}})
        return identifier

    def answer(self, request_id: str, behavior: str = "allow") -> None:
        response = {"request_id": request_id, "response": {"behavior": behavior}}
        self.send({"type": "control_response", "response": response})

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Host:
    """The bridge's process."""

    def __init__(self, folder: Path, mark: str, *command: str) -> None:
        self.socket = folder / "s.sock"
        self._mark = mark
        self._heard = folder / "heard"
        program = command or (sys.executable, str(STAND_IN), str(self._heard))
        bridge = (sys.executable, "-I", "-S", str(BRIDGE), str(self.socket), "conversation-0")
        self.process = subprocess.Popen(
            [*bridge, *program],
            env={**os.environ, MARK: mark},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.daemons: list[Daemon] = []

    def connect(self) -> Daemon:
        def connected() -> Daemon | None:
            try:
                return Daemon(self.socket)
            except (FileNotFoundError, ConnectionRefusedError):
                return None

        daemon = eventually(connected)
        assert daemon is not None
        self.daemons.append(daemon)
        return daemon

    def heard(self) -> list[Message]:
        """What reached the stand-in."""
        written = self._heard.read_text() if self._heard.exists() else ""
        # The last line may be half written.
        return [json.loads(line) for line in written.splitlines(True) if line.endswith("\n")]

    def ended(self) -> tuple[int, str]:
        """The exit status and what was said on stderr, once the bridge has ended."""
        _, said = self.process.communicate(timeout=10)
        return self.process.returncode, said.decode()

    def expect_nothing_left(self) -> None:
        expect_none(MARK, self._mark)

    def running(self) -> int:
        return len(marked(MARK, self._mark))

    @property
    def claude(self) -> psutil.Process:
        return psutil.Process(self.daemons[0].hello["pid"])

    @property
    def keeper(self) -> psutil.Process:
        (keeper,) = psutil.Process(self.process.pid).children()
        return keeper


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Sockets have short names.
    return Path(os.environ["XDG_RUNTIME_DIR"])


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    mark = uuid.uuid4().hex
    host = Host(folder, mark)
    yield host
    for daemon in host.daemons:
        daemon.close()
    host.process.kill()
    host.process.communicate()
    end_all(MARK, mark)


# --- what is said ---


def test_a_message_is_taken_shown_and_worked_on(host: Host) -> None:
    daemon = host.connect()

    identifier = daemon.say("hello")

    said = [daemon.read() for _ in range(4)]
    assert said == [
        {"type": "bridge_taken", "uuid": identifier},
        {"type": "bridge_turn", "turn": "busy", "problem": None},
        {"type": "bridge_shown", "uuid": identifier},
        {"type": "bridge_turn", "turn": "idle", "problem": None},
    ]
    assert [message["uuid"] for message in host.heard()] == [identifier]


def test_the_socket_is_its_users_alone(host: Host) -> None:
    host.connect()

    assert host.socket.stat().st_mode & 0o077 == 0


def test_a_message_given_twice_is_written_once(host: Host) -> None:
    daemon = host.connect()
    identifier = daemon.say("hello")
    daemon.read_until("bridge_turn", turn="idle")

    daemon.send({"type": "user", "uuid": identifier, "message": {"content": "hello"}})
    daemon.read_until("bridge_taken", uuid=identifier)

    daemon.say("next")
    daemon.read_until("bridge_turn", turn="idle")
    assert [message["message"]["content"] for message in host.heard()] == ["hello", "next"]


def test_what_was_asked_and_shown_while_nobody_listened_is_told_to_the_next(host: Host) -> None:
    first = host.connect()
    identifier = first.say("ask q-1")
    first.close()
    eventually(host.heard)

    second = host.connect()

    def told() -> bool:
        greeting = host.connect().hello
        return bool(greeting["questions"] and greeting["shown"])

    eventually(told)
    daemon = host.connect()
    assert daemon.hello == {
        "type": "bridge_hello",
        "pid": second.hello["pid"],
        "conversation": "conversation-1",
        "turn": "busy",
        "taken": [identifier],
        "shown": [identifier],
        "questions": ["q-1"],
    }
    assert daemon.read()["request_id"] == "q-1"


def test_before_its_first_turn_the_conversation_is_the_planned_one(host: Host) -> None:
    greeting = host.connect().hello

    assert (greeting["conversation"], greeting["turn"]) == ("conversation-0", "idle")


def test_a_question_is_answered_once(host: Host) -> None:
    daemon = host.connect()
    daemon.say("ask q-1")
    daemon.read_until("control_request", request_id="q-1")

    daemon.answer("q-1", "allow")
    daemon.answer("q-1", "deny")
    daemon.answer("q-2")
    daemon.say("next")
    daemon.read_until("bridge_turn", turn="idle")

    answers = [each["response"] for each in host.heard() if each["type"] == "control_response"]
    assert answers == [{"request_id": "q-1", "response": {"behavior": "allow"}}]
    assert host.connect().hello["questions"] == []


def test_a_question_that_is_taken_back_is_not_told_to_the_next(host: Host) -> None:
    daemon = host.connect()
    daemon.say("ask q-1")
    daemon.say("cancel q-1")

    daemon.read_until("control_cancel_request", request_id="q-1")

    assert host.connect().hello["questions"] == []


def test_a_turn_that_failed_says_why(host: Host) -> None:
    daemon = host.connect()

    daemon.say("fail no credit")

    assert daemon.read_until("bridge_turn", turn="idle")["problem"] == "no credit"


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"\xff\xfe", b'{"type": "user"}', b'{"type": "other"}', b"[" * 99_999]
)
def test_what_is_no_message_goes_no_further(host: Host, line: bytes) -> None:
    daemon = host.connect()

    daemon.send_raw(line + b"\n")
    daemon.say("next")

    daemon.read_until("bridge_turn", turn="idle")
    assert len(host.heard()) == 1


def test_half_a_line_of_a_daemon_that_died_is_forgotten(host: Host) -> None:
    daemon = host.connect()
    daemon.send_raw(b'{"type": "user", "uuid": "half')
    daemon.close()

    daemon = host.connect()
    daemon.say("next")

    daemon.read_until("bridge_turn", turn="idle")
    assert [message["message"]["content"] for message in host.heard()] == ["next"]


def test_the_one_who_came_last_is_the_daemon(host: Host) -> None:
    first, second = host.connect(), host.connect()

    second.say("hello")

    second.read_until("bridge_turn", turn="idle")
    assert first.read() == {}


# --- bounds ---


def test_a_daemon_that_hangs_holds_nobody_up(host: Host) -> None:
    hanging = host.connect()
    hanging.say("flood 40")
    hanging.say("hello")

    # It reads nothing, and Claude Code goes on all the same.
    eventually(lambda: len(host.heard()) == 2, 15)
    daemon = host.connect()
    daemon.say("next")

    daemon.read_until("bridge_turn", turn="idle")
    assert psutil.Process(host.process.pid).memory_info().rss < 100 * 1024 * 1024


def test_a_line_too_long_for_the_bridge_is_passed_over(host: Host) -> None:
    daemon = host.connect()

    daemon.say("long 70000000")

    daemon.read_until("bridge_turn", turn="idle")


def test_what_claude_code_does_not_read_yet_waits_outside_of_the_bridge(host: Host) -> None:
    daemon = host.connect()
    host.claude.suspend()
    sending = [
        {"type": "user", "uuid": f"u-{n}", "message": {"content": "x" * 60_000}} for n in range(200)
    ]
    data = b"".join(json.dumps(each).encode() + b"\n" for each in sending)

    taken = daemon.send_what_is_taken(data)
    assert taken < len(data) / 2

    host.claude.resume()
    daemon.send_raw(data[taken:])
    eventually(lambda: len(host.heard()) == 200, 15)
    assert [each["uuid"] for each in host.heard()] == [each["uuid"] for each in sending]


def test_the_log_of_complaints_is_bounded(host: Host, folder: Path) -> None:
    daemon = host.connect()
    for _ in range(15):
        daemon.say("complain " + "x" * 60_000)

    def sizes() -> list[int]:
        return [path.stat().st_size for path in folder.glob("s.sock.log*")]

    eventually(lambda: len(host.heard()) == 15 and len(sizes()) == 2, 15)
    for _ in range(15):
        daemon.read_until("bridge_turn", turn="idle")
    assert sum(sizes()) < 800_000


def test_the_bridge_costs_a_few_megabytes(host: Host) -> None:
    host.connect()

    bridge, keeper = psutil.Process(host.process.pid), host.keeper

    assert bridge.memory_full_info().uss + keeper.memory_full_info().uss < 16 * 1024 * 1024


# --- ends ---


@pytest.mark.parametrize(("ending", "status"), [("exit 3", 3), ("kill", 137), ("exit 0", 0)])
def test_the_end_of_claude_code_is_the_bridges_with_its_status(
    host: Host, ending: str, status: int
) -> None:
    daemon = host.connect()
    daemon.say("complain no more tea")

    daemon.say(ending)

    ended, said = host.ended()
    assert ended == status
    assert "no more tea" in said
    assert not host.socket.exists()
    host.expect_nothing_left()


def test_a_folder_that_went_first_does_not_change_the_status(host: Host) -> None:
    daemon = host.connect()
    host.socket.unlink()

    daemon.say("exit 3")

    assert host.ended()[0] == 3


def test_what_it_said_last_is_told_before_the_bridge_ends(host: Host) -> None:
    daemon = host.connect()

    identifier = daemon.say("exit 0")

    daemon.read_until("bridge_shown", uuid=identifier)


def test_a_program_that_cannot_be_started_is_named(folder: Path) -> None:
    host = Host(folder, "none", "/nowhere/claude", "-p")

    status, said = host.ended()

    assert (status, said) == (127, "/nowhere/claude cannot be started: No such file or directory\n")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("victim", ["bridge", "keeper", "claude"])
def test_nothing_goes_on_whichever_process_is_ended(
    host: Host, victim: str, signum: signal.Signals
) -> None:
    daemon = host.connect()
    daemon.say("orphan []")
    daemon.say("orphan [signal.SIGTERM]")
    eventually(lambda: host.running() == 5)
    victims = {"bridge": host.process.pid, "keeper": host.keeper.pid, "claude": host.claude.pid}

    os.kill(victims[victim], signum)

    host.expect_nothing_left()


def test_claude_code_that_does_not_end_is_killed(host: Host) -> None:
    daemon = host.connect()
    daemon.say("deaf")
    daemon.read_until("bridge_turn", turn="idle")

    host.process.terminate()

    assert host.ended()[0] == 128 + signal.SIGKILL
    host.expect_nothing_left()


def test_claude_code_that_is_stopped_is_killed(host: Host) -> None:
    host.connect()
    host.claude.suspend()
    # On a busy machine the next signal may overtake this one.
    eventually(lambda: host.claude.status() == psutil.STATUS_STOPPED)

    host.process.terminate()

    assert host.ended()[0] == 128 + signal.SIGKILL


def test_a_killed_group_leaves_nothing(host: Host) -> None:
    daemon = host.connect()
    daemon.say("orphan [signal.SIGTERM]")
    eventually(lambda: host.running() == 4)

    os.killpg(host.process.pid, signal.SIGKILL)

    host.expect_nothing_left()


def test_a_socket_left_by_a_killed_host_is_replaced(host: Host, folder: Path) -> None:
    host.connect()
    host.process.kill()
    host.expect_nothing_left()
    assert host.socket.exists()

    heir = Host(folder, host._mark)
    try:
        assert heir.connect().hello["turn"] == "idle"
    finally:
        heir.process.terminate()
        heir.ended()
        heir.daemons[0].close()
