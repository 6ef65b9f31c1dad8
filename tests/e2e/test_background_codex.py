"""Codex without a terminal: whatever dies, the conversation goes on, once, under the same id."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack
from tests.support.terminal import Terminal
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

_RELAY_AGENTD = (sys.executable, "-m", "relay_agentd")


def _run(stack: Stack, *words: str) -> str:
    done = subprocess.run(
        [*_RELAY_AGENTD, *words],
        env=stack.environment("codex"),
        cwd=stack.home.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _start(stack: Stack, *options: str) -> str:
    """A background session with a shell's environment; its agent's id."""
    started = json.loads(_run(stack, "run", "--background", *options, "--json", "codex"))
    agent_id: str = started["agentId"]
    return agent_id


def _listed(stack: Stack, agent_id: str) -> dict[str, Any]:
    sessions = json.loads(_run(stack, "ps", "--json"))["sessions"]
    return next(each for each in sessions if each["agentId"] == agent_id)


def _say(stack: Stack, agent_id: str, text: str) -> int:
    number = stack.send(agent_id, f"{text} [[say: {text} answered]]")
    stack.wait_until_in_context(number)
    return number


@contextmanager
def _service(stack: Stack, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The daemon as a service runs it, with a provider's key in its environment."""
    daemon = subprocess.Popen(
        [*_RELAY_AGENTD, "serve"],
        env={**stack.environment("codex"), **more},
        cwd="/",
        stdin=subprocess.DEVNULL,
    )
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(20)


def _records(stack: Stack) -> list[Path]:
    return list(stack.home.codex_home.glob("sessions/**/*.jsonl"))


def test_it_goes_on_once_under_its_id_when_its_host_its_daemon_and_its_machine_die(
    stack: Stack,
) -> None:
    agent_id = _start(stack, "--prompt", "the first words [[say: begun]]")
    eventually(lambda: "begun" in _run(stack, "logs", agent_id), 20)
    numbers = [_say(stack, agent_id, "first")]

    host = _listed(stack, agent_id)["pid"]
    os.kill(host, 9)
    eventually(lambda: stack.agent(agent_id)["status"] == "offline", 5)
    numbers.append(_say(stack, agent_id, "after the host"))

    host = _listed(stack, agent_id)["pid"]
    daemon = stack.daemon()
    daemon.kill()
    daemon.wait(5)
    numbers.append(stack.send(agent_id, "after the daemon [[say: and back]]"))
    stack.relay_agentd("up")
    stack.wait_until_in_context(numbers[-1])
    assert _listed(stack, agent_id)["pid"] == host

    for process in [*stack.of_sessions(), stack.daemon()]:
        process.kill()
    eventually(lambda: not stack.of_sessions(), 5)
    shutil.rmtree(stack.home.runtime / "agent-relay")
    with _service(stack, CODEX_HOME="/not/the/persons"):
        numbers.append(_say(stack, agent_id, "after the reboot"))
        assert stack.agent(agent_id)["status"] != "offline"
        assert stack.models["codex"].message_ids() == numbers
        prompts = [text for text in stack.models["codex"].user_texts() if "first words" in text]
        assert prompts[-1:] == ["the first words [[say: begun]]"]
        record = _records(stack)
        assert len(record) == 1
        assert record[0].read_text().count('"the first words [[say: begun]]"') <= 2

        _run(stack, "stop", agent_id)

        stack.expect_no_session_left()
        assert "after the reboot answered" in _run(stack, "logs", agent_id)


def test_attach_is_codex_itself_and_leaving_it_leaves_the_session(stack: Stack) -> None:
    agent_id = _start(stack, "--prompt", "begin [[say: begun]]")
    eventually(lambda: "begun" in _run(stack, "logs", agent_id), 20)
    before = _listed(stack, agent_id)

    with Terminal(
        [*_RELAY_AGENTD, "attach", agent_id], stack.environment("codex"), stack.home.project
    ) as terminal:
        terminal.wait_for_text("^. begun")
        _say(stack, agent_id, "from the relay")
        terminal.wait_for_text("^. from the relay answered")
        terminal.submit("from the keyboard [[say: keyboard answered]]")
        terminal.wait_for_text("^. keyboard answered")
        terminal.submit("/quit")
        assert terminal.exit_status() == 0

    assert _listed(stack, agent_id) == before
    _say(stack, agent_id, "still there")
    assert "keyboard answered" in _run(stack, "logs", agent_id)
    _run(stack, "stop", agent_id)
    stack.expect_no_session_left()


def test_guarded_it_waits_for_the_relays_answer_also_after_a_look_from_a_terminal(
    stack: Stack,
) -> None:
    agent_id = _start(stack, "--approval", "guarded", "--prompt", "begin [[say: begun]]")
    eventually(lambda: "begun" in _run(stack, "logs", agent_id), 20)
    with Terminal(
        [*_RELAY_AGENTD, "attach", agent_id], stack.environment("codex"), stack.home.project
    ) as terminal:
        terminal.wait_for_text("^. begun")
        terminal.submit("/quit")
        assert terminal.exit_status() == 0

    stack.send(agent_id, "[[shellesc: touch written]] [[say: tried]]")
    asked = eventually(
        lambda: stack.client.get("/api/approvals?status=pending").json()["approvals"], 20
    )
    assert not (stack.home.project / "written").exists()
    stack.client.post(
        f"/api/approvals/{asked[0]['id']}/decision", json={"decision": "allow"}
    ).raise_for_status()

    eventually((stack.home.project / "written").exists, 20)
    _run(stack, "stop", agent_id)


def test_session_launched_read_and_stopped_over_the_relay(stack: Stack) -> None:
    stack.relay_agentd("up")
    stack.daemon().terminate()
    eventually(lambda: not _serving(stack), 10)
    machine = "/api/machines"
    with _service(stack, AGENT_RELAY_LAUNCH_ROOTS=str(stack.home.project)):
        name = eventually(lambda: _launching_machine(stack), 20)
        wanted = {
            "provider": "codex",
            "cwd": str(stack.home.project),
            "prompt": "far away [[shell: touch written]] [[say: begun]]",
            "approvalMode": "read-only",
        }
        yolo = _ended(stack, f"{machine}/{name}/sessions", {**wanted, "args": ["--yolo"]})
        assert yolo["status"] == "failed"
        assert "--yolo" in yolo["detail"]

        launched = _ended(stack, f"{machine}/{name}/sessions", wanted)

        assert launched["status"] == "done", launched
        agent_id = launched["agentId"]
        logs = f"/api/agents/{agent_id}/logs"
        eventually(
            lambda: any("begun" in line for line in stack.client.get(logs).json()["lines"]), 20
        )
        assert stack.agent(agent_id)["approvalMode"] == "read-only"
        assert not (stack.home.project / "written").exists()
        stopped = _ended(stack, f"/api/agents/{agent_id}/stop", {})
        assert stopped["status"] == "done"
        stack.expect_no_session_left()


def _serving(stack: Stack) -> bool:
    try:
        return bool(stack.daemon())
    except AssertionError:
        return False


def _launching_machine(stack: Stack) -> str | None:
    machines = stack.client.get("/api/machines").raise_for_status().json()["machines"]
    return next((str(each["id"]) for each in machines if each["launchRoots"]), None)


def _ended(stack: Stack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A command, once it is over."""
    asked = stack.client.post(path, json=body)
    assert asked.status_code == 202, asked.text
    answer = stack.client.get(
        f"/api/commands/{asked.json()['id']}", params={"wait": 30}, timeout=40
    )
    ended: dict[str, Any] = answer.json()
    return ended
