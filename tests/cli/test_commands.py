"""The commands a person types, against a real relay and daemon."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from queue import Queue
from threading import Thread
from typing import Any

import click
import pytest
from click.testing import CliRunner

from relay_agentd.cli import cli
from tests.cli.machine import Machine
from tests.support.terminal import Terminal
from tests.support.wait import eventually

PROVED = {"in_context", "read"}
"""How far the stand-in session, which is never busy, gets a message."""


@pytest.fixture
def session(running: Machine) -> Iterator[dict[str, Any]]:
    """A session of the stand-in that takes every message at once."""
    with running.terminal("run", "--label", "backend", "--cap", "review", "stand-in") as window:
        window.wait_for_text("READY")
        listed = running.a_session()
        yield eventually(lambda: registered(running, listed["agentId"]) or {}, 10.0)
        running.run("stop", listed["agentId"])
        window.exit_status()


def registered(machine: Machine, agent_id: str) -> dict[str, Any] | None:
    """The agent once the relay knows it."""
    agents = machine.json("agents")["agents"]
    return next((agent for agent in agents if agent["id"] == agent_id), None)


class Following:
    """A `tail --json` whose events a test takes one by one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: Queue[str] = Queue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def has_shown_something(self) -> bool:
        """Is there a line not taken yet?"""
        return not self._lines.empty()

    def next_body(self) -> str:
        """The body of the next message it shows."""
        body: str = json.loads(self._lines.get(timeout=20.0))["message"]["body"]
        return body

    def end(self) -> tuple[int, str]:
        """Ctrl-C; its exit status and stderr."""
        self.process.send_signal(signal.SIGINT)
        self._reader.join()
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        said = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return self.process.wait(10), said


def wait_until_followed(machine: Machine, tail: Following) -> None:
    """Send until the tail shows something: from then on it must show all. Takes what it showed."""
    sent: list[str] = []

    def shown() -> bool:
        sent.append(f"probe {len(sent)}")
        send(machine, "operator", sent[-1])
        return tail.has_shown_something()

    eventually(shown, 20.0)
    while tail.next_body() != sent[-1]:
        pass


@pytest.fixture
def following(running: Machine) -> Iterator[Following]:
    """A tail that is known to follow."""
    tail = Following(running.start("tail", "--json"))
    yield tail
    if tail.process.poll() is None:
        tail.end()


def send(machine: Machine, to: str, text: str, *options: str) -> int:
    """Send from a pipe; the message's id."""
    done = machine.run("send", to, text, *options)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_agents_are_listed_as_lines_of_fields_in_a_pipe(
    running: Machine, session: dict[str, Any]
) -> None:
    done = running.run("agents")

    fields = [line.split("\t") for line in done.stdout.splitlines()]
    assert [session["id"], "idle", "backend", "stand-in"] in [row[:4] for row in fields]


def test_agents_can_be_filtered(running: Machine, session: dict[str, Any]) -> None:
    assert session["id"] in running.run("agents", "--cap", "review").stdout
    assert running.run("agents", "--cap", "cooking").stdout == ""


def test_send_waits_until_the_message_is_in_context(
    running: Machine, session: dict[str, Any]
) -> None:
    done = running.run("send", session["id"], "is it clean?", "--wait", "in_context")

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[1].strip() in PROVED


def test_send_says_in_json_how_far_the_message_got(
    running: Machine, session: dict[str, Any]
) -> None:
    message = running.json("send", session["id"], "hello", "--wait", "in_context")

    assert {receipt["state"] for receipt in message["receipts"]} <= PROVED
    assert all(receipt["inContextAt"] for receipt in message["receipts"])


def test_send_that_is_not_reached_in_time_exits_1_with_what_is_known(
    running: Machine, session: dict[str, Any]
) -> None:
    done = running.run("send", session["id"], "hello", "--wait", "replied", "--timeout", "0.2")

    assert done.returncode == 1
    assert "was not replied within 0.2 s" in done.stderr
    assert session["id"] in done.stdout


def test_send_reads_the_text_from_stdin(running: Machine) -> None:
    done = running.run("send", "operator", "-", stdin="two\nlines\n")

    assert running.json("thread", done.stdout.strip())["messages"][0]["body"] == "two\nlines\n"


def test_send_passes_every_option_on(running: Machine, session: dict[str, Any]) -> None:
    first = send(running, session["id"], "first")
    options = ("--from", session["id"], "--subject", "S", "--priority", "high", "--claimable")

    message = running.json("send", "operator", "x", *options, "--reply-to", str(first))

    assert message["from"] == session["id"]
    assert message["subject"] == "S"
    assert message["priority"] == "high"
    assert message["claimable"] is True
    assert message["replyTo"] == first


def test_inbox_shows_what_came_and_marks_it_as_read(running: Machine) -> None:
    message = send(running, "operator", "for you", "--from", "system")
    assert f"{message}\t" in running.run("inbox", "--mark-read").stdout

    assert f"{message}\t" not in running.run("inbox").stdout
    assert f"{message}\t" in running.run("inbox", "--all").stdout


def test_thread_shows_the_whole_conversation_in_order(running: Machine) -> None:
    first = send(running, "operator", "one", "--from", "system")
    second = send(running, "system", "two", "--reply-to", str(first))

    lines = running.run("thread", str(second)).stdout.splitlines()

    assert [line.split("\t")[0] for line in lines] == [str(first), str(second)]


def test_explain_says_how_far_it_got_with_whom(running: Machine, session: dict[str, Any]) -> None:
    message = running.json("send", session["id"], "hello", "--wait", "in_context")["id"]

    done = running.run("explain", str(message))

    receiver, state, *_ = done.stdout.split("\t")
    assert receiver == session["id"]
    assert state in PROVED


def test_tail_shows_messages_as_they_are_sent_and_ends_quietly(
    running: Machine, following: Following
) -> None:
    wait_until_followed(running, following)
    send(running, "operator", "live one")
    send(running, "operator", "live two")

    assert [following.next_body(), following.next_body()] == ["live one", "live two"]
    assert following.end() == (130, "")


def test_tail_misses_nothing_while_the_relay_is_killed_and_started_again(
    machine: Machine,
) -> None:
    assert machine.run("up").returncode == 0
    tail = Following(machine.start("tail", "--json"))
    wait_until_followed(machine, tail)
    machine.kill_relay()
    assert machine.run("up").returncode == 0
    for number in range(5):
        send(machine, "operator", f"number {number}")

    assert [tail.next_body() for _ in range(5)] == [f"number {number}" for number in range(5)]
    status, said = tail.end()
    assert status == 130
    assert len(said.splitlines()) == 1


def test_stop_ends_a_session_and_its_provider(running: Machine) -> None:
    with running.terminal("run", "stand-in") as window:
        window.wait_for_text("READY")
        agent = running.a_session()["agentId"]

        assert running.run("stop", agent).returncode == 0
        assert window.exit_status() == 128 + signal.SIGTERM
        assert running.sessions() == []


def test_stop_of_nothing_is_refused_in_one_line(running: Machine) -> None:
    done = running.run("stop", "nobody")

    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


def test_demo_talks_hands_over_work_and_leaves_no_agent(running: Machine) -> None:
    done = running.run("demo", "--pause", "0")

    assert done.returncode == 0, done.stderr
    assert "claims #" in done.stdout
    assert "Index added" in done.stdout
    assert running.url in done.stdout
    assert "demo-" not in running.run("agents", "--all").stdout


def test_interrupted_demo_leaves_no_agent(running: Machine) -> None:
    demo = running.start("demo", "--pause", "30")
    eventually(lambda: "demo-" in running.run("agents").stdout, 10.0)
    demo.send_signal(signal.SIGINT)
    said = demo.communicate(timeout=10)[1]

    assert demo.returncode == 130
    assert said == ""
    assert "demo-" not in running.run("agents", "--all").stdout


def test_a_person_sees_a_table_with_headings(running: Machine, session: dict[str, Any]) -> None:
    with Terminal(
        running.argv("agents"), running.environment(), running.home.project, cols=160
    ) as window:
        screen = window.wait_for_text("backend")

        assert re.search(r"AGENT\s+STATUS\s+LABEL", screen)
        assert window.exit_status() == 0


def test_unknown_receiver_is_refused_with_a_suggestion(
    running: Machine, session: dict[str, Any]
) -> None:
    done = running.run("send", session["id"][:-1], "x")

    assert done.returncode == 4
    assert session["id"] in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "command", [("agents",), ("send", "operator", "x"), ("up",), ("run", "stand-in")]
)
def test_wrong_token_is_refused_and_says_what_to_set(
    machine: Machine, command: tuple[str, ...]
) -> None:
    assert machine.run("up", AGENT_RELAY_TOKEN="right").returncode == 0
    machine.kill_daemon()

    done = machine.run(*command, AGENT_RELAY_TOKEN="another-one")

    assert done.returncode == 4
    assert "AGENT_RELAY_TOKEN" in done.stderr
    assert "another-one" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [("agents",), ("send", "operator", "x"), ("inbox",), ("tail",), ("explain", "1")],
)
def test_relay_that_is_not_there_is_exit_3_and_one_line(
    machine: Machine, command: tuple[str, ...]
) -> None:
    done = machine.run(*command)

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "relay-agentd up" in done.stderr


@pytest.mark.parametrize(
    "command", [("send",), ("send", "a", "b", "--wait", "sent"), ("thread", "x"), ("nothing",)]
)
def test_wrong_use_is_exit_2(machine: Machine, command: tuple[str, ...]) -> None:
    assert machine.run(*command).returncode == 2


def test_bad_settings_are_reported_together(machine: Machine) -> None:
    done = machine.run("agents", AGENT_RELAY_APPROVAL="maybe", AGENT_RELAY_URL="nowhere")

    assert done.returncode == 2
    assert "AGENT_RELAY_APPROVAL" in done.stderr
    assert "AGENT_RELAY_URL" in done.stderr


def test_reader_that_goes_away_ends_a_listing_quietly(
    running: Machine, session: dict[str, Any]
) -> None:
    for _ in range(3):
        send(running, session["id"], "x" * 60000)
    listing = running.start("inbox", "--for", session["id"], "--all")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.stderr is not None
    said = listing.stderr.read()
    listing.stderr.close()

    assert listing.wait(10) == 141
    assert said == ""


def test_every_command_shows_an_example_in_its_help() -> None:
    runner = CliRunner()

    for name in cli.list_commands(click.Context(cli)):
        shown = runner.invoke(cli, [name, "--help"])
        assert shown.exit_code == 0
        assert f"\n  relay-agentd {name}" in shown.output, name
