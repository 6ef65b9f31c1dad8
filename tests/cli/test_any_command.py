"""`run -- COMMAND`: any program is an agent while it runs, and speaks for it from inside."""

import json
import sys
from typing import Any

import httpx
import pytest

from tests.cli.machine import Machine
from tests.support.wait import eventually

RELAY_AGENTD = f"{sys.executable} -m relay_agentd"


def test_its_exit_status_is_the_programs(running: Machine) -> None:
    done = running.run("run", "--", "sh", "-c", "echo out; exit 7")

    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")


def test_it_is_an_agent_by_its_own_name_as_long_as_it_runs(running: Machine) -> None:
    with running.terminal("run", "--label", "nightly", "--", "sh", "-c", "read line") as window:
        session = running.a_session()

        agent = eventually(lambda: seen(running, session["agentId"])) or {}
        assert "-sh-project-" in agent["id"]
        assert (agent["provider"], agent["label"]) == ("command", "nightly")
        assert (agent["status"], agent["reachability"]) == ("busy", "poll")
        window.press("Enter")
        assert window.exit_status() == 0
    eventually(lambda: (seen(running, agent["id"]) or {})["status"] == "offline")


def seen(machine: Machine, agent_id: str) -> dict[str, Any] | None:
    answer = httpx.get(f"{machine.url}/api/agents/{agent_id}", trust_env=False)
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 200 else None


def test_commands_inside_it_speak_for_it_and_read_its_mail(running: Machine) -> None:
    script = (
        f'{RELAY_AGENTD} send operator "from inside" >/dev/null'
        f" && {RELAY_AGENTD} inbox --wait 20 --json"
        f" && {RELAY_AGENTD} inbox"
    )
    process = running.start("run", "--", "sh", "-c", script, AGENT_RELAY_LABEL="inside")
    agent_id = str(running.a_session()["agentId"])
    eventually(lambda: seen(running, agent_id))
    assert running.run("send", agent_id, "for you").returncode == 0

    said, errors = process.communicate(timeout=40)

    assert process.returncode == 0, errors
    (message,) = json.loads(said)["messages"]
    assert message["body"] == "for you"
    mail = running.json("inbox")["messages"]
    assert ("from inside", agent_id) in [(each["body"], each["from"]) for each in mail]


def test_dashes_after_a_provider_still_are_its_arguments(running: Machine) -> None:
    assert running.run("run", "stand-in", "--", "exit", "3").returncode == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "name a provider (claude or codex), or a command after `--`"),
        (("run", "--background", "--", "ls"), "name a provider"),
        (("run", "--", "no-such-program"), "cannot start no-such-program"),
    ],
)
def test_wrong_use_is_said_in_one_line(running: Machine, words: tuple[str, ...], said: str) -> None:
    done = running.run(*words)

    assert done.returncode in {2, 127}
    assert said in done.stderr
