"""`doctor` says what is wrong on a machine, and how to mend it."""

import json
import re
from typing import Any

import httpx

from tests.cli.machine import Machine
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

Checks = dict[str, list[dict[str, Any]]]


def examined(machine: Machine, *words: str, **environment: str) -> tuple[int, Checks]:
    """Exit status, and the checks by their names."""
    done = machine.run("doctor", *words, "--json", stdin=None, within=30.0, **environment)
    assert done.stdout, done.stderr
    found: Checks = {}
    for check in json.loads(done.stdout)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return done.returncode, found


def test_a_machine_where_everything_runs_is_well(running: Machine) -> None:
    status, found = examined(running)

    assert status == 0
    names = ("software", "settings", "folders", "relay", "token", "clock", "daemon", "link")
    for name in (*names, "outbox", "database", "log", "left over", "launch roots"):
        assert [check["verdict"] for check in found[name]] == ["ok"], found[name]
    providers = {check["detail"].partition(" ")[0]: check["verdict"] for check in found["provider"]}
    assert providers["stand-in"] == "ok"


def test_every_check_that_finds_something_says_how_to_mend_it(machine: Machine) -> None:
    status, found = examined(machine, AGENT_RELAY_LABLE="x", AGENT_RELAY_LAUNCH_ROOTS="/not/there")

    assert status == 1
    assert found["settings"][0]["mend"] == "is AGENT_RELAY_LABEL meant?"
    assert found["relay"][0]["verdict"] == "problem"
    assert "relay-agentd up" in found["relay"][0]["mend"]
    assert found["daemon"][0]["detail"] == "the daemon is not running"
    assert found["launch roots"][0]["verdict"] == "problem"
    bad = [check for checks in found.values() for check in checks if check["verdict"] == "problem"]
    assert all(check["mend"] for check in bad)


def test_a_bad_setting_is_named_and_the_rest_is_still_looked_at(machine: Machine) -> None:
    status, found = examined(machine, AGENT_RELAY_URL="nowhere")

    assert status == 1
    assert "AGENT_RELAY_URL" in found["settings"][0]["detail"]
    assert "daemon" in found


def test_a_token_that_may_only_read_is_a_problem(machine: Machine) -> None:
    folder = machine.home.path / "relay"
    folder.mkdir()
    with RelayProcess(folder, AGENT_RELAY_TOKEN="own") as relay:
        at = {"AGENT_RELAY_URL": relay.url}
        _, admin = examined(machine, **at, AGENT_RELAY_TOKEN="own")
        _, none = examined(machine, **at)
        reader = _token(relay, "read")
        agent = _token(relay, "agent")
        _, read = examined(machine, **at, AGENT_RELAY_TOKEN=reader)
        _, good = examined(machine, **at, AGENT_RELAY_TOKEN=agent)

    assert admin["token"][0]["detail"] == "accepted, scope admin"
    assert none["token"][0]["verdict"] == "problem"
    assert "no token is set" in none["token"][0]["detail"]
    assert read["token"][0]["verdict"] == "problem"
    assert good["token"][0]["detail"] == "accepted, scope agent"


def _token(relay: RelayProcess, scope: str) -> str:
    made = httpx.post(
        f"{relay.url}/api/tokens",
        json={"name": scope, "scope": scope},
        headers={"Authorization": "Bearer own"},
        trust_env=False,
    )
    return str(made.json()["token"])


def test_folders_open_to_others_are_told_with_the_command_that_closes_them(
    machine: Machine,
) -> None:
    state = machine.home.path / ".local" / "state" / "agent-relay"
    state.mkdir(parents=True, mode=0o755)
    config = machine.home.path / ".config" / "agent-relay"
    config.mkdir(parents=True)
    (config / "agentd.env").write_text("AGENT_RELAY_TOKEN=secret\n")
    (config / "agentd.env").chmod(0o644)

    _, found = examined(machine)

    assert found["folders"][0]["mend"] == f"chmod 700 {state}"
    assert f"chmod 600 {config / 'agentd.env'}" in [each["mend"] for each in found["settings"]]
    assert "secret" not in str(found)


def test_one_session_is_shown_in_detail_and_a_message_sent_through(running: Machine) -> None:
    with running.terminal("run", "--label", "patient", "stand-in") as window:
        window.wait_for_text(r"READY (\d+)")
        running.a_session()

        status, quiet = examined(running, "--session", "patient")
        eventually(lambda: examined(running, "--session", "patient")[1]["relay"])
        sent, found = examined(running, "--session", "patient", "--send")

    assert status == 0
    assert "self-test" not in quiet
    assert "no proof so far" in quiet["mail"][0]["detail"]
    assert sent == 0
    assert re.search(r"in its context after \d", found["self-test"][0]["detail"])


def test_an_unknown_session_says_where_to_look(running: Machine) -> None:
    status, found = examined(running, "--session", "nobody")

    assert status == 1
    assert found["session"][0]["mend"] == "relay-agentd ps lists those that run here"


def test_in_a_pipe_each_check_is_a_line(running: Machine) -> None:
    done = running.run("doctor")

    assert done.returncode == 0
    assert done.stderr == ""
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert {line[0] for line in lines} <= {"ok", "warning", "problem"}
    assert all(len(line) == 4 for line in lines)


def test_a_person_sees_what_to_do_below_what_is_wrong(machine: Machine) -> None:
    with machine.terminal("doctor") as window:
        window.wait_for_text("→ relay-agentd up")
        window.wait_for_text(r"\d problems?, \d warnings?")
        assert window.exit_status() == 1
