"""Five hundred machines listen: a broadcast, ordinary requests meanwhile, memory; starting up."""

import multiprocessing
import statistics
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import psutil

from scripts.benchmarks.connection import Connection
from scripts.benchmarks.measure import percentile, report, summary
from scripts.benchmarks.stream_client import Streams
from tests.support.relay_process import RelayProcess

STREAMS = 500
BROADCASTS = 20
BROADCAST_SECONDS = 0.080
ORDINARY_SECONDS = 0.050
MEGABYTES = 100
STARTS = 10
START_SECONDS = 0.6


def run() -> None:
    """All measurements with streams, and of a start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        _starts(folder)
        relay = stack.enter_context(
            RelayProcess(folder, AGENT_RELAY_SENDER_LIMIT="0", AGENT_RELAY_LOOP_LIMIT="0")
        )
        poster = Connection(relay.url)
        stack.callback(poster.close)
        streams = Streams(relay.url)
        stack.callback(streams.close)
        _open(streams, poster)
        with Probe(relay.url) as probe:
            times = [_broadcast(poster, streams, number) for number in range(BROADCASTS)]
            ordinary = probe.stop()
        used = _cpu_seconds(relay)
        for number in range(BROADCASTS, 2 * BROADCASTS):
            _broadcast(poster, streams, number)
        used = (_cpu_seconds(relay) - used) / BROADCASTS
        print(f"      a broadcast takes the relay {used * 1000:.0f} ms of a processor")
        _report(times, ordinary, relay)


def _starts(folder: Path) -> None:
    times, used = [], []
    for _ in range(STARTS):
        relay = RelayProcess(folder)
        started = time.perf_counter()
        relay.start()
        times.append(time.perf_counter() - started)
        used.append(_cpu_seconds(relay))
        relay.stop()
    print(f"      a start takes {statistics.median(used) * 1000:.0f} ms of a processor")
    met = statistics.median(times) <= START_SECONDS
    report("start to healthy", summary(times), f"p50 {START_SECONDS} s", met=met)


def _cpu_seconds(relay: RelayProcess) -> float:
    """On a busy machine the only figure that does not measure the neighbours."""
    assert relay.process is not None
    return sum(psutil.Process(relay.process.pid).cpu_times()[:2])


def _open(streams: Streams, connection: Connection) -> None:
    for number in range(STREAMS):
        connection.call("POST", "/api/agents", {"id": f"agent-{number}", "machine": f"m-{number}"})
        streams.open(f"/api/stream?agent=agent-{number}&machine=m-{number}")
    streams.wait_until_open()


def _broadcast(connection: Connection, streams: Streams, number: int) -> float:
    """From the start of the POST to the event on the last stream."""
    mark = f"bench-mark-{number:04}"
    message = {"from": "operator", "to": "broadcast", "body": "x" * 200, "subject": mark}
    request = connection.render("POST", "/api/messages", message)
    started = time.perf_counter()
    connection.send(request)
    last = max(streams.wait_for(mark.encode()))
    status, body = connection.receive()
    assert status == 201, body
    time.sleep(0.1)  # each on its own, and the routed marks of the last one written
    return last - started


class Probe:
    """Another process that sends ordinary requests one after the other, all the time."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_probe, args=(url, theirs), daemon=True)

    def __enter__(self) -> "Probe":
        self._process.start()
        self._pipe.recv()
        return self

    def stop(self) -> dict[str, list[float]]:
        """What each of them took, by method."""
        self._pipe.send("stop")
        times: dict[str, list[float]] = self._pipe.recv()
        return times

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join(10)


def _probe(url: str, pipe: Pipe) -> None:
    connection = Connection(url)
    message = {"from": "operator", "to": "system", "body": "ordinary"}
    requests = {
        "GET": connection.render("GET", "/api/messages?limit=1"),
        "POST": connection.render("POST", "/api/messages", message),
    }
    times: dict[str, list[float]] = {method: [] for method in requests}
    pipe.send("ready")
    while not pipe.poll(0.002):
        for method, request in requests.items():
            started = time.perf_counter()
            status, body = connection.exchange(request)
            times[method].append(time.perf_counter() - started)
            assert status < 300, body
    pipe.send(times)
    connection.close()


def _report(times: list[float], ordinary: dict[str, list[float]], relay: RelayProcess) -> None:
    worst = max(times)
    report(
        f"broadcast to {STREAMS} streams, to the last of them",
        f"p50 {statistics.median(times) * 1000:.0f} ms, max {worst * 1000:.0f} ms (n={len(times)})",
        f"max {BROADCAST_SECONDS * 1000:.0f} ms",
        met=worst <= BROADCAST_SECONDS,
    )
    for method, measured in ordinary.items():
        tail = percentile(measured, 0.99)
        target = f"p99 {ORDINARY_SECONDS * 1000:.0f} ms"
        report(f"{method} meanwhile", summary(measured), target, met=tail <= ORDINARY_SECONDS)
    assert relay.process is not None
    resident = psutil.Process(relay.process.pid).memory_info().rss / 1e6
    report(
        f"memory with {STREAMS} streams",
        f"{resident:.0f} MB",
        f"<= {MEGABYTES} MB",
        met=resident <= MEGABYTES,
    )
