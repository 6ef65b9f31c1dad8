"""A relay with a million messages, 5,000 agents and 100,000 tasks against one with little.

The same questions to both, in turns; then the large one's long work in the background (retention,
silent agents, indexing) while others post.
"""

import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from relay_server.store.search import INDEXED, TABLE
from scripts.benchmarks.connection import Connection
from scripts.benchmarks.large_data import COMMON, LARGE, RARE, SMALL, Size, agent_name, fill
from scripts.benchmarks.measure import percentile, report, summary
from tests.support.relay_process import RelayProcess

_ROUNDS = 60
_RATIO = 1.5
_START_SECONDS = 0.6
_P99_SECONDS = 0.050
_CALM_SECONDS = 5.0
_UNLIMITED = {
    "AGENT_RELAY_SENDER_LIMIT": "0",
    "AGENT_RELAY_LOOP_LIMIT": "0",
    "RETENTION_DAYS": "3650",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A request. With `milliseconds`, a bound of its own, for the reason in `why`."""

    name: str
    path: str
    milliseconds: float | None = None
    why: str = ""


_POSTINGS = "every message that has the word is passed over once, 30 ns each"
_QUESTIONS = (
    Question("agents, the first 50", "/api/agents?limit=50"),
    Question("agents of a machine", "/api/agents?machine=box-7&limit=1"),
    Question("agents by text", "/api/agents?q=agent-0007&limit=50", 50, "names have no index"),
    Question("agents, all of them", "/api/agents", 1500, "a hundred times as many are rendered"),
    Question("one agent", f"/api/agents/{agent_name(13)}"),
    Question("an inbox, up to date", f"/api/messages?for={agent_name(13)}"),
    Question("an inbox from the start", f"/api/messages?for={agent_name(13)}&since=0&limit=20"),
    Question("messages", "/api/messages"),
    Question("messages by sender", f"/api/messages?from={agent_name(13)}&limit=20"),
    Question("messages by receiver", f"/api/messages?to={agent_name(13)}&limit=20"),
    Question("messages to a tag", "/api/messages?to=tag:team-3&limit=1"),
    Question("messages by channel", "/api/messages?channel=ops"),
    Question("claimable messages", "/api/messages?claimable=true&limit=20"),
    Question("messages before one", "/api/messages?before=900"),
    Question("messages by sender and channel", "/api/messages?from=operator&channel=ops"),
    Question("a thread", "/api/messages/991/thread"),
    Question("search, rare word", f"/api/messages?q={RARE}"),
    Question("search, rare word and filter", f"/api/messages?q={RARE}&channel=ops"),
    Question("search, common word", f"/api/messages?q={COMMON}", 50, _POSTINGS),
    Question(
        "search, common word and filter",
        f"/api/messages?q={COMMON}&from={agent_name(13)}&limit=5",
        80,
        _POSTINGS,
    ),
    Question("search, a phrase", "/api/messages?q=%22review+please%22", 20, _POSTINGS),
    Question("stats", "/api/stats"),
    Question("tasks", "/api/tasks"),
    Question("open tasks", "/api/tasks?status=open&limit=10"),
    Question("tasks by target", "/api/tasks?target=tag:team-3&limit=2"),
    Question("tasks by source", "/api/tasks?source=source-3&limit=5"),
    Question("tasks by owner", f"/api/tasks?claimedBy={agent_name(6)}&limit=1"),
    Question("task search, in every task", f"/api/tasks?q={COMMON}", 20, _POSTINGS),
    Question("task search, rare word", "/api/tasks?q=host77&limit=1"),
    Question("explain", "/api/messages/7/explain", 1500, "says of every agent why or why not"),
)


def run() -> None:
    """Build both, ask both, then work the large one."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        small, large = (_made(folder / title, size) for title, size in _SIZES.items())
        _starting(small, large)
        with small, large:
            _asking(small.url, large.url)
            calm = _calm(large)
        _retention(large, calm)
        _silence(large, calm)
        _indexing(large, calm)


_SIZES = {"small": SMALL, "large": LARGE}


def _made(folder: Path, size: Size) -> RelayProcess:
    folder.mkdir()
    relay = RelayProcess(folder, **_UNLIMITED)
    relay.start()
    relay.stop()
    started = time.monotonic()
    fill(relay.database, size)
    megabytes = relay.database.stat().st_size / 1e6
    print(f"      {size.messages} messages: {time.monotonic() - started:.0f} s, {megabytes:.0f} MB")
    return relay


def _starting(small: RelayProcess, large: RelayProcess, *, rounds: int = 5) -> None:
    """From the start of the process to the first healthy answer."""
    times: dict[str, list[float]] = {"small": [], "large": []}
    for _ in range(rounds):
        for title, relay in (("small", small), ("large", large)):
            started = time.monotonic()
            relay.start()
            times[title].append(time.monotonic() - started)
            relay.stop()
    few, many = (statistics.median(series) for series in times.values())
    met = many <= _START_SECONDS
    report(
        "start to healthy", f"{many:.2f} s (small {few:.2f} s)", f"<= {_START_SECONDS} s", met=met
    )


def _asking(small: str, large: str) -> None:
    with closing(Connection(small)) as few, closing(Connection(large)) as many:
        for question in _QUESTIONS:
            _ask(question, few, many)


def _ask(question: Question, few: Connection, many: Connection) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    rounds = _ROUNDS if question.milliseconds is None or question.milliseconds < 1000 else 5
    for number in range(rounds + 5):
        for connection, series in zip((few, many), times, strict=True):
            request = connection.render("GET", question.path)
            started = time.perf_counter()
            status, body = connection.exchange(request)
            elapsed = time.perf_counter() - started
            assert status == 200, (question.path, body)
            if number >= 5:  # the first fill the caches
                series.append(elapsed)
    middle_few, middle_many = (statistics.median(series) * 1000 for series in times)
    ratio = middle_many / middle_few
    value = f"{ratio:.2f} x (p50 {middle_few:.2f} / {middle_many:.2f} ms)"
    if question.milliseconds is None:
        report(question.name, value, f"<= {_RATIO} x", met=ratio <= _RATIO)
    else:
        target = f"<= {question.milliseconds:.0f} ms: {question.why}"
        report(question.name, value, target, met=middle_many <= question.milliseconds)


# -- posting meanwhile


@dataclass(slots=True)
class Posting:
    """Four connections that post while something else goes on."""

    url: str
    times: list[float] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._post) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.is_over.set()
            for thread in threads:
                thread.join()

    def _post(self) -> None:
        with closing(Connection(self.url)) as connection:
            message = {"from": "bench-a", "to": "bench-b", "body": f"work {COMMON} " * 10}
            request = connection.render("POST", "/api/messages", message)
            while not self.is_over.wait(0.005):
                started = time.perf_counter()
                status, body = connection.exchange(request)
                self.times.append(time.perf_counter() - started)
                assert status == 201, body


def _register(url: str) -> None:
    with closing(Connection(url)) as connection:
        for agent in ("bench-a", "bench-b"):
            connection.call("POST", "/api/agents", {"id": agent})


def _calm(relay: RelayProcess) -> list[float]:
    """The same posting while nothing else goes on."""
    _register(relay.url)
    posting = Posting(relay.url)
    with posting.meanwhile():
        time.sleep(_CALM_SECONDS)
    print(f"      POST, nothing else going on: {summary(posting.times)}")
    return posting.times


def _busy(
    name: str, relay: RelayProcess, calm: list[float], is_done: Callable[[Connection], bool]
) -> None:
    """Post from the relay's start until the work is done."""
    with relay, closing(Connection(relay.url)) as connection:
        _register(relay.url)
        posting = Posting(relay.url)
        started = time.monotonic()
        with posting.meanwhile():
            while not is_done(connection) and time.monotonic() - started < 120:
                time.sleep(0.1)
            took = time.monotonic() - started
    tail = percentile(posting.times, 0.99)
    print(f"      {name}: {took:.0f} s; p99 without: {percentile(calm, 0.99) * 1000:.2f} ms")
    report(f"POST while {name}", summary(posting.times), "p99 <= 50 ms", met=tail <= _P99_SECONDS)


def _retention(large: RelayProcess, calm: list[float]) -> None:
    days = round(LARGE.days * 0.78)
    relay = _again(large, RETENTION_DAYS=str(days))

    def is_done(connection: Connection) -> bool:
        total: int = connection.call("GET", "/api/stats")["messages"]["total"]
        return total < LARGE.messages * 0.79

    _busy("200,000 old messages and their tasks go", relay, calm, is_done)


def _silence(large: RelayProcess, calm: list[float]) -> None:
    with closing(sqlite3.connect(large.database)) as database, database:
        database.execute("UPDATE agents SET last_seen_at = 1 WHERE built_in = 0")
    relay = _again(large, OFFLINE_PRUNE_MS="1000")

    def is_done(connection: Connection) -> bool:
        total: int = connection.call("GET", "/api/stats")["agents"]["total"]
        return total <= 2

    _busy("5,000 agents fall silent and are pruned", relay, calm, is_done)


def _indexing(large: RelayProcess, calm: list[float]) -> None:
    with closing(sqlite3.connect(large.database)) as database, database:
        database.execute(f"INSERT INTO {TABLE} ({TABLE}) VALUES ('delete-all')")
        database.execute("UPDATE counters SET value = 0 WHERE name = ?", (INDEXED,))
    started = time.monotonic()

    def is_done(connection: Connection) -> bool:
        del connection
        return time.monotonic() - started > 15

    _busy("an upgraded database is indexed (15 s of it)", _again(large), calm, is_done)


def _again(relay: RelayProcess, **environment: str) -> RelayProcess:
    """The same database with other settings."""
    return RelayProcess(relay.folder, **{**_UNLIMITED, **environment})
