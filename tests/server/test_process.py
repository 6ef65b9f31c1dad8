"""The program: exit codes, stopping, and what survives SIGKILL."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.server.conformance import judged_client
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually


def _run(
    relay: RelayProcess, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The program, until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "relay_server", *arguments],
        env={**relay.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_sigterm_ends_it_at_once_although_streams_and_polls_wait(
    relay_process: RelayProcess,
) -> None:
    relay_process.start()
    httpx.post(f"{relay_process.url}/api/agents", json={"id": "a"}, trust_env=False)
    request = b"GET /api/messages?for=a&wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n"

    with (
        httpx.stream("GET", f"{relay_process.url}/api/stream?agent=a", trust_env=False) as stream,
        socket.create_connection(("127.0.0.1", relay_process.port), timeout=10) as poll,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: hello"
        poll.sendall(request)
        # Requests are taken in the order they came: once this is answered, the poll waits.
        httpx.get(f"{relay_process.url}/healthz", trust_env=False)
        status = relay_process.stop()
        rest = list(lines)
        answer = poll.recv(65536)

    assert status == 0
    assert rest[-1] == ""
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"messages":[],"cursor":0,"more":false}')


def test_sigkill_loses_nothing_that_was_acknowledged(relay_process: RelayProcess) -> None:
    relay_process.start()
    for agent in ("a", "b"):
        httpx.post(f"{relay_process.url}/api/agents", json={"id": agent}, trust_env=False)
    acknowledged: list[int] = []

    def send() -> None:
        with judged_client(relay_process.url) as client:
            try:
                while True:
                    given = {"from": "a", "to": "b", "body": "x"}
                    acknowledged.append(client.post("/api/messages", json=given).json()["id"])
            except httpx.HTTPError:
                return

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    eventually(lambda: len(acknowledged) > 200, within=20)
    relay_process.kill()
    for sender in senders:
        sender.join(timeout=10)
    relay_process.start()

    stored: list[int] = []
    with judged_client(relay_process.url) as client:
        while True:
            since = stored[-1] if stored else 0
            page = client.get(f"/api/messages?for=b&since={since}&limit=500").json()
            stored += [message["id"] for message in page["messages"]]
            if not page["more"]:
                break
        newer = client.post("/api/messages", json={"from": "a", "to": "b", "body": "x"}).json()

    assert set(acknowledged) <= set(stored)
    assert newer["id"] > stored[-1]


def test_wrong_settings_exit_2_with_one_line_each(relay_process: RelayProcess) -> None:
    ended = _run(relay_process, "--port", "x", STALE_TTL_MS="soon")

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 2
    assert ended.stderr.startswith("relay-server: PORT = 'x'")


def test_other_than_loopback_without_token_exits_2(relay_process: RelayProcess) -> None:
    ended = _run(relay_process, "serve", "--host", "0.0.0.0")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("content", [b"garbage" * 200, b"SQLite format 3\0" + b"x" * 50])
def test_a_corrupt_database_exits_3_with_one_line(
    relay_process: RelayProcess, content: bytes
) -> None:
    relay_process.database.write_bytes(content)

    ended = _run(relay_process)

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)
    assert relay_process.database.read_bytes() == content


def test_a_second_start_on_the_same_file_exits_4_and_names_the_holder(
    relay_process: RelayProcess,
) -> None:
    relay_process.start()
    assert relay_process.process is not None

    ended = _run(relay_process, PORT="0")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (4, 1)
    assert f"(pid {relay_process.process.pid})" in ended.stderr


def test_a_link_to_a_database_is_no_second_database(
    relay_process: RelayProcess, tmp_path: Path
) -> None:
    relay_process.start()
    link = tmp_path / "link.db"
    link.symlink_to(relay_process.database)

    ended = _run(relay_process, PORT="0", AGENT_RELAY_DB=str(link))

    assert (ended.returncode, len(ended.stderr.splitlines())) == (4, 1)


def test_a_taken_port_exits_4_and_names_the_holder(relay_process: RelayProcess) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = _run(relay_process, PORT=str(port))

    assert (ended.returncode, len(ended.stderr.splitlines())) == (4, 1)
    assert str(port) in ended.stderr
    assert f"(pid {os.getpid()})" in ended.stderr


def test_check_config_prints_settings_and_never_the_token(relay_process: RelayProcess) -> None:
    ended = _run(relay_process, "check-config", "--port", "77", AGENT_RELAY_TOKEN="s3cret")

    assert ended.returncode == 0
    assert "PORT=77" in ended.stdout.splitlines()
    assert "s3cret" not in ended.stdout + ended.stderr


def test_the_version_is_printed(relay_process: RelayProcess) -> None:
    assert "relay-server" in _run(relay_process, "--version").stdout


def test_no_token_and_no_traceback_in_the_log(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, AGENT_RELAY_TOKEN="s3cret") as relay:
        for token in ("s3cret", "wrong"):
            headers = {"Authorization": f"Bearer {token}"}
            httpx.get(f"{relay.url}/api/agents", headers=headers, trust_env=False)
        with socket.create_connection(("127.0.0.1", relay.port)) as broken:
            broken.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    log = relay.log.read_text()
    assert "s3cret" not in log
    assert "Traceback" not in log


def test_a_read_only_database_exits_3(relay_process: RelayProcess) -> None:
    relay_process.start()
    relay_process.stop()
    relay_process.database.chmod(0o444)

    ended = _run(relay_process)

    relay_process.database.chmod(0o600)
    assert (ended.returncode, "read-only" in ended.stderr) == (3, True)
