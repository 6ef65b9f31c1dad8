"""The relay server against the bare yardstick, and its own latencies."""

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from scripts.benchmarks.connection import Connection
from scripts.benchmarks.measure import percentile, report, summary
from tests.support.relay_process import RelayProcess

_MESSAGE = {"from": "bench-a", "to": "bench-b", "body": "x" * 200}


def run() -> None:
    """All server measurements."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        bare = stack.enter_context(BareServer(folder / "bare.db"))
        relay = stack.enter_context(
            RelayProcess(folder, AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0")
        )
        _register(relay.url, "bench-a", "bench-b")
        _single(bare.url, relay.url)
        _throughput(bare.url, relay.url)
        _event_latency(relay.url)
        _inbox_size(folder)


class BareServer:
    """The yardstick as a process of its own."""

    def __init__(self, database: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.benchmarks.bare_server", str(database)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> "BareServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _register(url: str, *agents: str) -> None:
    connection = Connection(url)
    for agent in agents:
        connection.call("POST", "/api/agents", {"id": agent})
    connection.close()


def _single(bare: str, relay: str, *, rounds: int = 20, posts: int = 100) -> None:
    """One kept connection each, taking turns so that a noisy machine troubles both alike."""
    times: dict[str, list[float]] = {bare: [], relay: []}
    connections = {url: Connection(url) for url in times}
    for _ in range(rounds):
        for url, connection in connections.items():
            request = connection.render("POST", "/api/messages", _MESSAGE)
            for _ in range(posts):
                started = time.perf_counter()
                status, _body = connection.exchange(request)
                times[url].append(time.perf_counter() - started)
                assert status == 201, _body
    for connection in connections.values():
        connection.close()
    ratio = statistics.median(times[relay]) / statistics.median(times[bare])
    print(f"      bare {summary(times[bare])}; relay {summary(times[relay])}")
    report(
        "POST on a kept connection, p50 against bare", f"{ratio:.2f} x", "<= 2 x", met=ratio <= 2
    )


def _throughput(bare: str, relay: str, *, rounds: int = 3) -> None:
    rates: dict[str, list[float]] = {bare: [], relay: []}
    for _ in range(rounds):
        for url, measured in rates.items():
            measured.append(_rate(url))
    yardstick, ours = (statistics.median(rates[url]) for url in (bare, relay))
    share = ours / yardstick
    print(f"      bare {yardstick:.0f}/s; relay {ours:.0f}/s")
    report("16 connections posting, share of bare", f"{share:.0%}", ">= 60 %", met=share >= 0.6)


def _rate(url: str, *, connections: int = 16, posts: int = 150) -> float:
    barrier = threading.Barrier(connections + 1)

    def post() -> None:
        connection = Connection(url)
        request = connection.render("POST", "/api/messages", _MESSAGE)
        barrier.wait()
        for _ in range(posts):
            status, body = connection.exchange(request)
            assert status == 201, body
        barrier.wait()
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(connections)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    elapsed = time.perf_counter() - started
    for thread in threads:
        thread.join()
    return connections * posts / elapsed


def _event_latency(relay: str, *, posts: int = 1000) -> None:
    """From the start of the POST to the event on the receiver's stream."""
    _register(relay, "bench-stream")
    arrived: dict[str, float] = {}
    opened = threading.Event()
    done = threading.Event()
    streaming = Connection(relay)

    def follow() -> None:
        for line in streaming.stream("/api/stream?agent=bench-stream"):
            opened.set()
            if b'"bench-mark-' in line:
                mark = line.split(b'"bench-mark-')[1].split(b'"')[0].decode()
                arrived[mark] = time.perf_counter()
                if mark == str(posts - 1):
                    done.set()
                    return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    opened.wait(10)
    connection = Connection(relay)
    sent: dict[str, float] = {}
    for number in range(posts):
        message = {
            "from": "bench-a",
            "to": "bench-stream",
            "body": "x",
            "subject": f"bench-mark-{number}",
        }
        request = connection.render("POST", "/api/messages", message)
        sent[str(number)] = time.perf_counter()
        connection.exchange(request)
        _until(lambda: str(number) in arrived)  # noqa: B023 - called at once
    done.wait(10)
    connection.close()
    streaming.close()
    times = [arrived[mark] - sent[mark] for mark in arrived]
    middle, tail = statistics.median(times), percentile(times, 0.99)
    met = middle <= 0.0015 and tail <= 0.010
    report(
        "POST -> event on the receiver's stream", summary(times), "p50 1.5 ms, p99 10 ms", met=met
    )


_FILL = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
INSERT INTO messages (sender, target, addressed_to, body, thread_id, kind, priority, claimable,
                      recipients, created_at)
SELECT 'bench-a', 'someone-' || (n % 500), 'someone-' || (n % 500), 'stored long ago', n, 'message',
       'normal', 0, 1, CAST(strftime('%s', 'now') AS INTEGER) * 1000 FROM number
"""


def _inbox_size(folder: Path) -> None:
    """The same inbox of 50 messages among a thousand and among a million others."""
    times: dict[int, list[float]] = {1_000: [], 1_000_000: []}
    with ExitStack() as stack:
        connections = {
            stored: _inbox_among(stored, folder / f"inbox-{stored}", stack) for stored in times
        }
        for _ in range(400):
            for stored, connection in connections.items():
                request = connection.render("GET", "/api/messages?for=bench-b&since=0")
                started = time.perf_counter()
                status, body = connection.exchange(request)
                times[stored].append(time.perf_counter() - started)
                assert status == 200, body
    few, many = times.values()
    ratio = statistics.median(many) / statistics.median(few)
    print(f"      among 1,000: {summary(few)}; among 1,000,000: {summary(many)}")
    report(
        "reading an inbox, 1,000,000 against 1,000 stored",
        f"{ratio:.2f} x",
        "<= 1.3 x",
        met=ratio <= 1.3,
    )


def _inbox_among(stored: int, folder: Path, stack: ExitStack) -> Connection:
    folder.mkdir()
    relay = RelayProcess(folder, AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0")
    relay.start()
    _register(relay.url, "bench-a", "bench-b")
    relay.stop()
    with closing(sqlite3.connect(relay.database)) as database, database:
        database.execute(_FILL, (stored,))
        # As the relay would have it by now; else it would index a million messages meanwhile.
        database.execute("INSERT INTO messages_search (messages_search) VALUES ('rebuild')")
        database.execute("UPDATE counters SET value = ? WHERE name = 'messages_search'", (stored,))
    stack.enter_context(relay)
    connection = Connection(relay.url)
    stack.callback(connection.close)
    for _ in range(50):
        connection.call("POST", "/api/messages", _MESSAGE)
    return connection


def _until(condition: Callable[[], bool], *, within: float = 5) -> None:
    deadline = time.perf_counter() + within
    while not condition() and time.perf_counter() < deadline:
        time.sleep(0.0002)
