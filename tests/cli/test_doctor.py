"""`doctor` says what is wrong on a machine, and how to mend it."""

import json
import re
from typing import Any

import httpx

from relay_agentd import doctor_sessions
from relay_agentd.doctor import Check, Patient
from relay_agentd.paths import Paths
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


def test_an_old_provider_is_told_with_what_is_lost_and_what_updates_it(machine: Machine) -> None:
    claude, codex = a_program(machine, "claude", "2.1.150"), a_program(machine, "codex", "0.144.4")

    _, found = examined(machine, AGENT_RELAY_CLAUDE=claude, AGENT_RELAY_CODEX=codex)

    told = {each["mend"]: each["detail"] for each in found["provider"] if each["mend"]}
    assert "the oldest that was tried is 2.1.197" in told["claude update"]
    assert [each["verdict"] for each in found["settings"]] == ["ok"]
    assert "it has no queue" in told["npm install -g @openai/codex@latest"]


def test_one_provider_is_enough(machine: Machine) -> None:
    _, found = examined(machine, STAND_IN_MISSING="1")
    _, with_codex = examined(machine, AGENT_RELAY_CODEX=a_program(machine, "codex", "0.169.0"))

    assert {each["verdict"] for each in found["provider"]} == {"warning"}
    assert {each["verdict"] for each in with_codex["provider"]} == {"ok"}


def test_whether_plain_sessions_join_is_told_and_what_mends_it(machine: Machine) -> None:
    codex = a_program(machine, "codex", "0.169.0")
    _, before = examined(machine, AGENT_RELAY_CODEX=codex)
    assert machine.run("install", "codex", AGENT_RELAY_CODEX=codex).returncode == 0
    _, after = examined(machine, AGENT_RELAY_CODEX=codex)
    config = next(machine.home.path.glob("**/config.toml"))
    text = config.read_text()
    config.write_text(text.replace("startup_timeout_sec = 20", "startup_timeout_sec = 1"))
    _, changed = examined(machine, AGENT_RELAY_CODEX=codex)
    assert machine.run("install", "codex", AGENT_RELAY_CODEX=codex).returncode == 0
    _, mended = examined(machine, AGENT_RELAY_CODEX=codex)

    def verdicts(found: Checks) -> list[str]:
        return [check["verdict"] for check in found["installed"]]

    assert "do not join (`relay-agentd install codex`)" in before["installed"][0]["detail"]
    assert [verdicts(found) for found in (before, after, mended)] == [["ok"]] * 3
    assert verdicts(changed) == ["warning"]
    assert changed["installed"][0]["mend"] == "relay-agentd install codex"


def a_program(machine: Machine, name: str, version: str) -> str:
    """A provider's program that knows its version and nothing else."""
    program = machine.home.path / f"old-{name}"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return str(program)


def test_background_sessions_alone_have_nobody_to_start_the_daemon_again(machine: Machine) -> None:
    started = machine.run("run", "--background", "--label", "alone", "stand-in")
    assert started.returncode == 0, started.stderr
    _, alone = examined(machine)
    with machine.terminal("run", "stand-in") as window:
        window.wait_for_text(r"READY (\d+)")
        eventually(lambda: len(machine.sessions()) == 2, 10)
        _, guarded = examined(machine)

    assert "relay-agentd up" in alone["service"][0]["mend"]
    assert "service" not in guarded


def test_a_session_that_dies_again_and_again_is_a_problem_once_it_was_given_up() -> None:
    listed = {"key": "k", "agentId": "box-codex-shop-1", "problem": "exit 1"}

    (given_up,) = sessions_of([listed | {"state": "FATAL"}])
    (dying,) = sessions_of([listed | {"state": "BACKOFF"}])

    assert (given_up.verdict, dying.verdict) == ("problem", "warning")
    assert "exit 1" in given_up.detail
    assert "relay-agentd stop box-codex-shop-1" in (given_up.mend or "")


def sessions_of(listed: list[dict[str, Any]]) -> list[Check]:
    """What `doctor` says of sessions that the daemon lists so."""
    patient = Patient(paths=Paths.default(), environment={}, sessions=list(listed))
    return [check for check in doctor_sessions.check(patient) if check.name == "session"]
