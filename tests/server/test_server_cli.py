"""`relay-server` as people type it: real processes, with and without a relay that runs."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from relay_server.cli import main
from relay_server.wire import join_code, read_join_code
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def relay(tmp_path: Path) -> Any:
    """A relay with a token, not yet started; the commands know its settings."""
    process = RelayProcess(tmp_path, AGENT_RELAY_TOKEN="main", AGENT_RELAY_SENDER_LIMIT="0")
    yield process
    process.kill()


def run(relay: RelayProcess, *arguments: str, **environment: str) -> Ended:
    """The program, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "relay_server", *arguments],
        env={**relay.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def done(relay: RelayProcess, *arguments: str, **environment: str) -> str:
    """Its stdout; it must have gone well."""
    ended = run(relay, *arguments, **environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def status(relay: RelayProcess, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{relay.url}/api/agents", headers=headers, trust_env=False).status_code


def _send(relay: RelayProcess, count: int) -> list[int]:
    headers = {"Authorization": "Bearer main"}
    with httpx.Client(base_url=relay.url, headers=headers, trust_env=False) as client:
        client.post("/api/agents", json={"id": "a"})
        given = {"from": "operator", "to": "a", "body": "x" * 1000}
        return [client.post("/api/messages", json=given).json()["id"] for _ in range(count)]


# -- tokens


def test_the_secret_stands_alone_on_stdout_and_the_words_on_stderr(relay: RelayProcess) -> None:
    ended = run(relay, "token", "create", "lap top", "--scope", "agent", "--machine", "m")

    assert re.fullmatch(r"art_[\w-]{43}\n", ended.stdout)
    assert "lap top: agent, machine m, without end" in ended.stderr
    assert ended.stdout.strip() not in ended.stderr


def test_tokens_are_listed_without_secrets(relay: RelayProcess) -> None:
    secret = done(relay, "token", "create", "a", "--scope", "read", "--expires", "30d").strip()
    done(relay, "token", "create", "b", "--scope", "admin", "--expires", "2099-01-01T00:00:00Z")

    listed = json.loads(done(relay, "token", "list", "--json"))["tokens"]
    table = done(relay, "token", "list")

    assert [(each["id"], each["name"], each["scope"]) for each in listed] == [
        (1, "a", "read"),
        (2, "b", "admin"),
    ]
    assert listed[1]["expiresAt"] == "2099-01-01T00:00:00.000Z"
    assert secret not in table + json.dumps(listed)
    assert [line.split()[:3] for line in table.splitlines()] == [
        ["ID", "NAME", "SCOPE"],
        ["1", "a", "read"],
        ["2", "b", "admin"],
    ]


def test_a_token_is_revoked_by_name_when_that_is_clear(relay: RelayProcess) -> None:
    for name in ("a", "b", "b"):
        done(relay, "token", "create", name, "--scope", "read")

    done(relay, "token", "revoke", "a")
    unclear, unknown = run(relay, "token", "revoke", "b"), run(relay, "token", "revoke", "a")
    done(relay, "token", "revoke", "3")

    assert (unclear.returncode, unknown.returncode) == (1, 1)
    assert "2, 3" in unclear.stderr
    assert [
        each["id"] for each in json.loads(done(relay, "token", "list", "--json"))["tokens"]
    ] == [2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "create", "a"),
        ("token", "create", "a", "--scope", "root"),
        ("token", "create", "", "--scope", "read"),
        ("token", "create", "a\x1b[2J", "--scope", "read"),
        ("token", "create", "a", "--scope", "read", "--expires", "soon"),
        ("token", "create", "a", "--scope", "read", "--expires", "2020-01-01T00:00:00Z"),
        ("integration", "add", "a b", "--scope", "tasks:read"),
        ("integration", "add", "a", "--scope", "tasks:read", "--target", "tag:"),
        ("integration", "add", "a", "--scope", "tasks:read", "--callback-url", "example.test"),
        ("integration", "add", "a"),
        ("invite", "--url", "example.test"),
        ("restore",),
        ("frobnicate",),
        ("token", "list", "--port", "1"),
    ],
)
def test_wrong_use_exits_2_without_a_traceback(
    relay: RelayProcess, arguments: tuple[str, ...]
) -> None:
    ended = run(relay, *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    assert "\x1b" not in ended.stderr


@pytest.mark.parametrize("arguments", [("token", "list"), ("integration", "list"), ("invite",)])
def test_what_the_database_refuses_exits_3_with_one_line(
    relay: RelayProcess, arguments: tuple[str, ...]
) -> None:
    relay.database.write_bytes(b"garbage" * 200)

    ended = run(relay, *arguments)

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)


def test_a_database_that_another_program_holds_exits_3_with_one_line(relay: RelayProcess) -> None:
    done(relay, "token", "list")
    with closing(sqlite3.connect(relay.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        ended = run(relay, "token", "create", "a", "--scope", "read")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)


def test_a_running_relay_knows_within_a_second_what_was_made_and_revoked(
    relay: RelayProcess,
) -> None:
    relay.start()

    token = done(relay, "token", "create", "a", "--scope", "read").strip()
    integration = done(relay, "integration", "add", "ci", "--scope", "tasks:read").strip()
    assert status(relay, token) == 200
    assert status(relay, integration) == 403
    done(relay, "token", "revoke", "a")
    done(relay, "integration", "remove", "ci")

    eventually(lambda: status(relay, token) == 401, within=1.5)
    eventually(lambda: status(relay, integration) == 401, within=1.5)


# -- integrations


def test_an_integration_is_added_listed_and_removed(relay: RelayProcess) -> None:
    options = ("--scope", "tasks:create", "--target", "tag:ops", "--webhook-secret", "hush")
    configured = '[{"name": "set", "token": "quiet", "scopes": []}]'

    added = run(relay, "integration", "add", "alerts", *options)
    again = run(relay, "integration", "add", "alerts", *options)
    listed = done(relay, "integration", "list", "--json", AGENT_RELAY_INTEGRATIONS=configured)
    table = done(relay, "integration", "list")
    fixed = run(relay, "integration", "remove", "set", AGENT_RELAY_INTEGRATIONS=configured)
    done(relay, "integration", "remove", "alerts")

    assert re.fullmatch(r"ari_[\w-]{43}\n", added.stdout)
    assert (again.returncode, fixed.returncode) == (1, 1)
    names = [each["name"] for each in json.loads(listed)["integrations"]]
    assert names == ["alerts", "set"]
    assert not any(secret in listed + table for secret in ("hush", "quiet", added.stdout.strip()))
    assert json.loads(done(relay, "integration", "list", "--json")) == {"integrations": []}


# -- invitations


def test_an_invitation_carries_the_address_and_a_token_of_its_own(relay: RelayProcess) -> None:
    url = "https://relay.example:8443/"

    line = done(relay, "invite", "--name", "lap", "--url", url)

    match = re.fullmatch(r"relay-agentd join ([A-Za-z0-9_-]+)\n", line)
    assert match
    found, token = read_join_code(match[1])
    assert found == "https://relay.example:8443"
    assert token.startswith("art_")
    [listed] = json.loads(done(relay, "token", "list", "--json"))["tokens"]
    assert (listed["name"], listed["scope"], listed["machine"]) == ("lap", "agent", "lap")


def test_an_invitation_to_loopback_says_that_nobody_else_gets_there(relay: RelayProcess) -> None:
    inside = run(relay, "invite")
    outside = run(relay, "invite", HOST="192.168.1.5")

    assert "listens on 127.0.0.1 only" in inside.stderr
    assert "listens on" not in outside.stderr
    assert read_join_code(outside.stdout.split()[-1])[0] == f"http://192.168.1.5:{relay.port}"


def test_a_join_code_is_read_as_it_was_written() -> None:
    code = join_code("http://[::1]:4850", "art_x")

    assert read_join_code(f" {code}\n") == ("http://[::1]:4850", "art_x")
    for wrong in (
        "",
        "x",
        code[:-3],
        code + "!",
        join_code("ftp://a", "t"),
        join_code("http://a", "\n"),
    ):
        with pytest.raises(ValueError, match="join code"):
            read_join_code(wrong)


# -- backup and restore


def test_a_backup_during_writes_is_whole_and_restores(relay: RelayProcess, tmp_path: Path) -> None:
    relay.start()
    first = _send(relay, 50)
    argv = [sys.executable, "-c", _WRITER, relay.url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()  # it has begun

            path = Path(done(relay, "backup", str(tmp_path)).strip())
        finally:
            writer.kill()

    assert path.parent == tmp_path
    assert re.fullmatch(r"relay-\d{8}T\d{6}Z\.db", path.name)
    assert path.stat().st_mode & 0o777 == 0o600
    newest = _send(relay, 1)[0]
    refused = run(relay, "restore", str(path))
    assert refused.returncode == 4
    assert relay.process is not None
    assert f"(pid {relay.process.pid})" in refused.stderr

    relay.stop()
    ended = run(relay, "restore", str(path))
    assert ended.returncode == 0, ended.stderr
    relay.start()
    with httpx.Client(
        base_url=relay.url, headers={"Authorization": "Bearer main"}, trust_env=False
    ) as client:
        found = client.get("/api/messages?for=a&since=0&limit=500").json()["messages"]
        total = client.get("/api/stats").json()["messages"]["total"]
    stored = [message["id"] for message in found]

    assert set(first) <= set(stored)
    assert stored == list(range(1, len(stored) + 1))
    assert total == len(stored)
    assert newest not in stored
    assert _send(relay, 1)[0] > newest, "a reader that saw the newest would miss this one"
    assert len(list(tmp_path.glob("relay.db.before-restore-*"))) == 1


_WRITER = """
import sys, httpx
headers = {"Authorization": "Bearer main"}
client = httpx.Client(base_url=sys.argv[1], headers=headers, trust_env=False)
for number in range(100_000):
    client.post("/api/messages", json={"from": "operator", "to": "a", "body": "y" * 1000})
    if number == 10:
        print("begun", flush=True)
"""


def test_a_backup_overwrites_only_by_force(relay: RelayProcess, tmp_path: Path) -> None:
    done(relay, "token", "list")
    target = tmp_path / "b.db"
    target.write_text("precious")

    refused = run(relay, "backup", str(target))
    kept = target.read_text()
    done(relay, "backup", str(target), "--force")
    itself = run(relay, "backup", str(relay.database), "--force")

    assert (refused.returncode, kept, itself.returncode) == (1, "precious", 1)
    assert target.read_bytes().startswith(b"SQLite format 3\0")
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("wrong", ["missing", "text", "truncated", "foreign", "newer", "damaged"])
def test_what_is_no_backup_is_refused_and_the_database_stays(
    relay: RelayProcess, tmp_path: Path, wrong: str
) -> None:
    done(relay, "token", "create", "here", "--scope", "read")
    path = tmp_path / "b.db"
    if wrong == "text":
        path.write_text("hello" * 100)
    elif wrong == "foreign":
        with closing(sqlite3.connect(path)) as foreign:
            foreign.execute("CREATE TABLE t (x)")
    elif wrong != "missing":
        done(relay, "backup", str(path))
        _spoil(path, wrong)

    ended = run(relay, "restore", str(path))

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)
    assert [
        each["name"] for each in json.loads(done(relay, "token", "list", "--json"))["tokens"]
    ] == ["here"]
    assert list(tmp_path.glob("*before-restore*")) + list(tmp_path.glob(".*.partial")) == []


def _spoil(path: Path, how: str) -> None:
    if how == "newer":
        with closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 999")
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "damaged":
        # Every page but the first, which tells whose database it is.
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def test_a_damaged_database_is_kept_with_its_log_when_a_backup_takes_its_place(
    relay: RelayProcess, tmp_path: Path
) -> None:
    done(relay, "token", "create", "saved", "--scope", "read")
    done(relay, "backup", str(tmp_path / "b.db"))
    relay.database.write_bytes(b"garbage" * 1000)
    log = relay.database.with_name("relay.db-wal")
    log.write_bytes(b"log")

    done(relay, "restore", str(tmp_path / "b.db"))

    kept = sorted(path.name for path in tmp_path.glob("*before-restore*"))
    assert [name.endswith("-wal") for name in kept] == [False, True]
    assert (tmp_path / kept[0]).read_bytes() == b"garbage" * 1000
    assert not log.exists()
    assert [
        each["name"] for each in json.loads(done(relay, "token", "list", "--json"))["tokens"]
    ] == ["saved"]


def test_a_backup_comes_to_a_machine_that_never_had_a_relay(
    relay: RelayProcess, tmp_path: Path
) -> None:
    done(relay, "token", "create", "saved", "--scope", "read")
    done(relay, "backup", str(tmp_path / "b.db"))
    elsewhere = str(tmp_path / "new" / "relay.db")

    done(relay, "restore", str(tmp_path / "b.db"), "--db", elsewhere)

    assert "saved" in done(relay, "token", "list", "--db", elsewhere)
    assert Path(elsewhere).stat().st_mode & 0o777 == 0o600


# -- doctor


def _checks(ended: Ended) -> dict[str, list[dict[str, Any]]]:
    told = json.loads(ended.stdout)
    assert told["ok"] == (ended.returncode == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for check in told["checks"]:
        assert check["ok"] or check["mend"], check
        found.setdefault(check["name"], []).append(check)
    return found


def test_the_doctor_finds_a_running_relay_well(relay: RelayProcess) -> None:
    relay.start()

    ended = run(relay, "doctor")

    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert "main" not in ended.stdout.replace("domain", "")


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(relay: RelayProcess) -> None:
    relay.start()
    _send(relay, 1)
    relay.stop()
    with closing(sqlite3.connect(relay.database)) as database:
        database.execute("UPDATE messages SET created_at = created_at + 86400000")
        database.commit()
    relay.database.chmod(0o644)
    file = Path(relay.environment()["HOME"]) / ".config" / "agent-relay" / "server.env"
    file.parent.mkdir(parents=True)
    file.write_text("AGENT_RELAY_TOKEN=main\n")
    file.chmod(0o640)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", relay.port))
        other.listen()

        ended = run(relay, "doctor", "--json", AGENT_RELAY_TOKN="x")

    checks = _checks(ended)
    wrong = {name for name, found in checks.items() if not all(check["ok"] for check in found)}
    assert wrong == {"env file", "settings", "database", "clock", "port", "relay"}
    assert f"chmod 600 {relay.database}" in checks["database"][0]["mend"]
    assert f"(pid {os.getpid()})" in checks["port"][0]["detail"]


def test_the_doctor_names_each_wrong_setting(relay: RelayProcess) -> None:
    ended = run(relay, "doctor", "--json", HOST="0.0.0.0", AGENT_RELAY_TOKEN="", STALE_TTL_MS="x")

    found = [check["detail"] for check in _checks(ended)["settings"]]
    assert len(found) == 2
    assert "STALE_TTL_MS" in found[0]
    assert "AGENT_RELAY_TOKEN" in found[1]


def test_the_doctor_sees_a_damaged_database(relay: RelayProcess) -> None:
    done(relay, "token", "list")
    content = relay.database.read_bytes()
    relay.database.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

    checks = _checks(run(relay, "doctor", "--json"))

    assert not checks["database"][0]["ok"]
    assert "restore" in checks["database"][0]["mend"]


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "check-config",
        "token create",
        "token list",
        "token revoke",
        "integration add",
        "integration list",
        "integration remove",
        "invite",
        "backup",
        "restore",
        "doctor",
    ],
)
def test_each_command_shows_examples(command: str) -> None:
    shown = CliRunner().invoke(main, [*command.split(), "--help"])

    assert "  relay-server " in shown.output
