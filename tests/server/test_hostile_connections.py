"""Clients that break the rules of HTTP, or of politeness, against a real relay process."""

import json
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import psutil
import pytest

from relay_server.server.edge import REQUEST_SECONDS, STALLED_SECONDS
from tests.server.conftest import StartRelay
from tests.server.running import LaterClock
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

_HOST = b"Host: localhost\r\n"
_GET = b"GET /healthz HTTP/1.1\r\n" + _HOST
_POST = b"POST /api/messages HTTP/1.1\r\n" + _HOST + b"Content-Type: application/json\r\n"
_HALF_OPEN = 3000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One relay that takes all of it."""
    folder = tmp_path_factory.mktemp("hostile")
    with RelayProcess(folder, AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0") as relay:
        yield relay


@pytest.fixture
def relay(running: RelayProcess) -> Iterator[RelayProcess]:
    """It lives on, and what a client does wrong is worth no word above INFO."""
    yield running
    assert running.process is not None
    assert running.process.poll() is None
    loud = ("WARNING", "ERROR", "CRITICAL", "Traceback")
    lines = running.log.read_text().splitlines()
    assert [line for line in lines if any(word in line for word in loud)] == []


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process holds the other end of each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _HALF_OPEN + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _connect(relay: RelayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=20)


class _Client:
    """One connection, and the answers on it."""

    def __init__(self, relay: RelayProcess) -> None:
        self.socket = _connect(relay)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next one; status 0 when the connection has ended instead."""
        with suppress(ConnectionError):
            first = self._file.readline()
            if first:
                headers: dict[str, str] = {}
                while (line := self._file.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = self._file.read(int(headers["content-length"]))
                return int(first.split()[1]), headers, body
        return 0, {}, b""


def _ask(relay: RelayProcess, data: bytes) -> tuple[int, Any]:
    """Status and problem of the one answer to these bytes."""
    with _Client(relay) as client:
        with suppress(ConnectionError):  # it may be refused before it is read
            client.send(data)
        status, headers, body = client.answer()
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert "server" not in headers
    return status, json.loads(body) if body.startswith(b"{") else body


def _latency(relay: RelayProcess) -> float:
    """Of one client that comes, asks and goes."""
    started = time.perf_counter()
    assert _ask(relay, _GET + b"\r\n")[0] == 200
    return time.perf_counter() - started


def _assert_others_are_served(relay: RelayProcess) -> None:
    assert statistics.median(_latency(relay) for _ in range(21)) < 0.1


_BROKEN = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET\r\n\r\n",
    "lower case method": b"get /healthz HTTP/1.1\r\n" + _HOST + b"\r\n",
    "host that is no address": b"GET http://[ HTTP/1.1\r\n" + _HOST + b"\r\n",
    "bare CR in the request line": b"GET /healthz\rX HTTP/1.1\r\n" + _HOST + b"\r\n",
    "bare LF": _GET + b"X-A: b\nX-Agent-Relay-Token: t\r\n\r\n",
    "bare CR": _GET + b"X-A: b\rc\r\n\r\n",
    "NUL": _GET + b"X-A: b\0c\r\n\r\n",
    "folded": _GET + b"X-A: b\r\n c\r\n\r\n",
    "folded at once": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "no colon": _GET + b"nonsense\r\n\r\n",
    "space before the colon": _GET + b"Content-Length : 3\r\n\r\nabc",
    "two lengths": _POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "two equal lengths": _POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "signed length": _POST + b"Content-Length: +2\r\n\r\n{}",
    "negative length": _POST + b"Content-Length: -1\r\n\r\n",
    "hexadecimal length": _POST + b"Content-Length: 0x2\r\n\r\n{}",
    "empty length": _POST + b"Content-Length:\r\n\r\n",
    "5,000 digits": _POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "length and chunks": _POST
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /api/messages HTTP/1.0\r\n"
    + _HOST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown encoding": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "disguised encoding": _POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunk without a size": _POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk longer than its size": _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "endless chunk line": _POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
    "endless trailer": _POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 5000,
}


@pytest.mark.parametrize("name", _BROKEN)
def test_what_is_no_request_is_refused_with_a_problem(relay: RelayProcess, name: str) -> None:
    status, problem = _ask(relay, _BROKEN[name])

    assert (status, problem["status"], problem["code"]) == (400, 400, "malformed_request")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n", 431),
        (_GET + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (_GET + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (_GET + b"a" * 100_000, 431),
        (_POST + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        (_POST + b"Content-Length: 2000000\r\n\r\n" + b" " * 2_000_000, 413),
        (_POST + b"Content-Length: 3\r\n\r\n\xff\xfe\xfd", 400),
        (b"GET /api/%ff%fe HTTP/1.1\r\n" + _HOST + b"\r\n", 404),
        (b"GET /api/\xff\xfe HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
        (b"GET /api/agents/%00 HTTP/1.1\r\n" + _HOST + b"\r\n", 404),
        (b"GET /api/messages?q=\xff HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", 421),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 421),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 421),
        (b"BREW /healthz HTTP/1.1\r\n" + _HOST + b"\r\n", 405),
        (_POST + b"Origin: http://\xff\r\nContent-Length: 2\r\n\r\n{}", 403),
        (_POST + b"Idempotency-Key: \xff\r\nContent-Length: 2\r\n\r\n{}", 422),
    ],
    ids=str,
)
def test_what_is_too_large_or_badly_encoded_is_refused_with_a_problem(
    relay: RelayProcess, data: bytes, expected: int
) -> None:
    status, problem = _ask(relay, data)

    assert status in (expected, 0)  # 0: hung up on a client that went on sending
    if status:
        assert problem["status"] == expected


_OUTSIDE = (
    *("/../pyproject.toml", "/../../etc/passwd", "/%2e%2e/pyproject.toml", "/..%2fpyproject.toml"),
    *("/app/../../pyproject.toml", "/app/%2e%2e/%2e%2e/pyproject.toml", "/./../pyproject.toml"),
    *("//etc/passwd", "///etc/passwd", "/%2fetc/passwd", "/app//../../pyproject.toml"),
    *("/..\\pyproject.toml", "/%5c..%5cpyproject.toml", "/app\\..\\..\\pyproject.toml"),
    *("/index.html%00", "/%00", "/index.html%00.js", "/" + "a" * 600, "/" + "a/" * 300),
    *("/" + "../" * 300 + "etc/passwd", "/%252e%252e/pyproject.toml", "/.%2e/pyproject.toml"),
    *("/app", "/app/", "/~root", "/C:/Windows/win.ini"),
    *("/%ff", "/app/%e2%80%a5/pyproject.toml", "/file:///etc/passwd"),
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_nothing_outside_the_dashboards_folder_is_served(relay: RelayProcess, method: str) -> None:
    for path in _OUTSIDE:
        data = f"{method} {path} HTTP/1.1\r\n".encode() + _HOST + b"Connection: close\r\n\r\n"
        with closing(_connect(relay)) as client:
            client.sendall(data)
            answer = client.makefile("rb").read()

        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer)
        assert b"root:" not in answer
        assert b"[project]" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_static_files_are_only_read(relay: RelayProcess, method: str) -> None:
    for path in ("/index.html", "/"):
        with _Client(relay) as client:
            client.send(f"{method} {path} HTTP/1.1\r\n".encode() + _HOST + b"\r\n")
            status, headers, _ = client.answer()

        assert status == 405
        assert "GET" in headers["allow"]


def test_what_follows_a_body_is_no_part_of_it(relay: RelayProcess) -> None:
    with _Client(relay) as client:
        client.send(_POST + b"Content-Length: 2\r\n\r\n{}trailing nonsense\r\n\r\n")
        first, second, third = client.answer(), client.answer(), client.answer()

    assert (first[0], second[0], third[0]) == (422, 400, 0)


def test_pipelined_garbage_ends_the_connection_after_the_good_answers(relay: RelayProcess) -> None:
    with _Client(relay) as client:
        client.send((_GET + b"\r\n") * 50 + b"\0garbage\r\n\r\n" * 50 + _GET + b"\r\n")
        statuses = [client.answer()[0] for _ in range(52)]

    assert statuses == [200] * 50 + [400, 0]


def test_a_body_that_ends_early_is_no_request(relay: RelayProcess) -> None:
    with _Client(relay) as client:
        client.send(_POST + b"Content-Length: 100\r\n\r\n{}")
        client.socket.shutdown(socket.SHUT_WR)

        assert client.answer()[0] == 0


def test_urgent_data_and_resets_disturb_nobody(relay: RelayProcess) -> None:
    with _Client(relay) as urgent:
        urgent.send(_GET)
        urgent.socket.send(b"!", socket.MSG_OOB)
        urgent.send(b"\r\n")
        assert urgent.answer()[0] == 200
    for _ in range(50):
        with closing(_connect(relay)) as reset:
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            reset.sendall(_GET + b"\r\n")

    _assert_others_are_served(relay)


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(relay: RelayProcess) -> None:
    with _Client(relay) as client:
        client.send(_POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"{}")

        assert client.answer()[0] == 422


def _fill(relay: RelayProcess, messages: int) -> None:
    """So much that a list of it is larger than what is buffered for a client."""
    body = json.dumps({"from": "operator", "to": "system", "body": "x" * 60_000}).encode()
    with _Client(relay) as client:
        for _ in range(messages):
            client.send(_POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert client.answer()[0] == 201


_LIST = b"GET /api/messages?limit=50 HTTP/1.1\r\n" + _HOST + b"\r\n"


def test_clients_that_never_read_keep_no_thread_and_little_memory(relay: RelayProcess) -> None:
    _fill(relay, 40)
    assert relay.process is not None
    process = psutil.Process(relay.process.pid)
    _assert_others_are_served(relay)
    threads, before = process.num_threads(), process.memory_info().rss
    with ExitStack() as stack:
        for _ in range(30):
            greedy = stack.enter_context(closing(_connect(relay)))
            greedy.sendall(_LIST * 50)
        _assert_others_are_served(relay)

        assert process.num_threads() <= threads
        # Not fifty answers of 2.4 MB each for each of the thirty, but one or two.
        assert process.memory_info().rss - before < 30 * 2 * 2_500_000


def test_a_client_that_reads_late_gets_all_its_answers(relay: RelayProcess) -> None:
    _fill(relay, 40)
    with _Client(relay) as client:
        client.send(_LIST * 10)
        _assert_others_are_served(relay)
        answers = [client.answer() for _ in range(10)]

    assert [status for status, _, _ in answers] == [200] * 10
    assert all(len(json.loads(body)["messages"]) >= 40 for _, _, body in answers)


def test_thousands_of_half_open_connections_lock_nobody_out(
    relay: RelayProcess, many_descriptors: None
) -> None:
    assert relay.process is not None
    process = psutil.Process(relay.process.pid)
    openings = (
        b"",
        _GET + b"X-Half: ",
        _POST + b'Content-Length: 1000\r\n\r\n{"from":',
    )
    with ExitStack() as stack:
        honest = stack.enter_context(_Client(relay))
        honest.send(_GET + b"\r\n")
        assert honest.answer()[0] == 200
        threads = process.num_threads()
        half_open = []
        for number in range(_HALF_OPEN):
            half_open.append(stack.enter_context(closing(_connect(relay))))
            half_open[-1].sendall(openings[number % len(openings)])

        _assert_others_are_served(relay)
        for drop in half_open:
            with suppress(OSError):  # cut already
                drop.send(b"x")
        _assert_others_are_served(relay)
        assert process.num_threads() <= threads
        assert process.num_fds() < 2000
        honest.send(_GET + b"\r\n")
        assert honest.answer()[0] == 200
    _assert_others_are_served(relay)


def test_unread_answers_lock_nobody_out(relay: RelayProcess, many_descriptors: None) -> None:
    _fill(relay, 40)
    with ExitStack() as stack:
        for _ in range(300):
            greedy = stack.enter_context(closing(_connect(relay)))
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.sendall(_LIST)
        for _ in range(_HALF_OPEN // 2):
            stack.enter_context(closing(_connect(relay)))
        _assert_others_are_served(relay)


def test_half_bodies_cost_a_bounded_amount_of_memory(relay: RelayProcess) -> None:
    assert relay.process is not None
    process = psutil.Process(relay.process.pid)
    before = process.memory_info().rss
    half = _POST + b"Content-Length: 8000000\r\n\r\n" + b" " * 7_000_000
    with ExitStack() as stack:
        for _ in range(25):
            with suppress(ConnectionError):  # cut while sending
                stack.enter_context(closing(_connect(relay))).sendall(half)
        _assert_others_are_served(relay)

        assert process.memory_info().rss - before < 120_000_000


def _drip(connection: socket.socket) -> bool:
    """Send one more byte; whether the relay has hung up."""
    try:
        connection.send(b"x")
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("opening", [_GET + b"X-Slow: ", _POST + b"Content-Length: 1000\r\n\r\n"])
def test_a_request_that_drips_in_is_cut_in_time(start_relay: StartRelay, opening: bytes) -> None:
    clock = LaterClock()
    relay = start_relay(edge_clock=clock)
    address = ("127.0.0.1", relay.server.port)
    with socket.create_connection(address) as slow, socket.create_connection(address) as kept:
        kept.sendall(_GET + b"\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        slow.sendall(opening)
        slow.setblocking(False)
        clock.advance(REQUEST_SECONDS - 5)
        relay.client.get("/healthz")
        assert not _drip(slow)

        clock.advance(10)
        eventually(lambda: _drip(slow), within=10)

        # Being silent between two requests is nothing bad.
        kept.sendall(_GET + b"\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_takes_nothing_for_a_minute_is_cut(start_relay: StartRelay) -> None:
    clock = LaterClock()
    relay = start_relay(edge_clock=clock, AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0")
    for _ in range(200):
        relay.send("operator", "system", "x" * 60_000)
    with socket.create_connection(("127.0.0.1", relay.server.port)) as greedy:
        greedy.sendall(b"GET /api/messages?limit=500 HTTP/1.1\r\n" + _HOST + b"\r\n")
        eventually(lambda: len(greedy.recv(1000, socket.MSG_PEEK)) == 1000)

        def relay_holds_it() -> bool:
            connections = psutil.Process().net_connections("tcp")
            return any(each.raddr == greedy.getsockname() for each in connections)

        assert relay_holds_it()
        clock.advance(STALLED_SECONDS + 1)
        eventually(lambda: not relay_holds_it(), within=10, message="it was not cut")
        received = 0
        with suppress(ConnectionError):
            while piece := greedy.recv(1 << 20):
                received += len(piece)

    assert received < 200 * 60_000


def test_without_descriptors_the_relay_neither_spins_nor_locks_others_out(
    relay_process: RelayProcess,
) -> None:
    relay = relay_process.start()
    assert relay.process is not None
    process = psutil.Process(relay.process.pid)
    _assert_others_are_served(relay)
    few = process.num_fds() + 20
    process.rlimit(psutil.RLIMIT_NOFILE, (few, few))
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(closing(_connect(relay)))
        used = sum(process.cpu_times()[:2])
        with pytest.raises(AssertionError):
            eventually(lambda: sum(process.cpu_times()[:2]) - used > 0.5, within=1.5)
        # Its database may be short of a descriptor at first, too.
        eventually(lambda: _ask(relay, _GET + b"\r\n")[0] == 200)
    _assert_others_are_served(relay)
