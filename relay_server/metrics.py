"""What the relay counts and measures, for Prometheus; the only module that knows its library.

Any thread may call the methods of `Metrics`; each takes a microsecond or two. Labels are words of
the code (methods, route templates, states), never anything a client made up, so that their number
is bounded. It reads nothing by itself: `render` is given what only the database knows.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from relay_server import __version__

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNROUTED: Final = "none"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# A request takes a millisecond, or seconds when the disk is in trouble.
_REQUEST_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
# A session takes a message within a second when it rests, or when its turn of an hour is over.
_DELIVERY_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0, 86400.0),
)


class Metrics:
    """One relay's metrics, with a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._make_counters()
        self._make_gauges()
        self._by_request: dict[tuple[str, str | None, int], Any] = {}
        self._by_route: dict[tuple[str, str | None], Any] = {}
        self._rendering = threading.Lock()

    def _make_counters(self) -> None:
        known = self.registry
        self._requests = Counter(
            "agent_relay_http_requests",
            "Requests answered, by method, route and class of status",
            ("method", "route", "status"),
            registry=known,
        )
        self._durations = Histogram(
            "agent_relay_http_request_duration_seconds",
            "From a request's head to its answer, without streams and what waits for something",
            ("method", "route"),
            buckets=_REQUEST_BUCKETS,
            registry=known,
        )
        self._sent = Counter("agent_relay_messages_sent", "Messages accepted", registry=known)
        self._held = Counter(
            "agent_relay_messages_held", "Messages held by the loop guard", registry=known
        )
        self._receipts = Counter(
            "agent_relay_receipts", "Steps of messages to a receiver", ("state",), registry=known
        )
        self._delivery = Histogram(
            "agent_relay_delivery_duration_seconds",
            "From the acceptance of a message until a receiver reached the state",
            ("state",),
            buckets=_DELIVERY_BUCKETS,
            registry=known,
        )
        self._tasks_reported = Counter(
            "agent_relay_tasks_reported", "Reports that made a task", registry=known
        )
        self._tasks_deduped = Counter(
            "agent_relay_tasks_deduped", "Reports of a task that was there", registry=known
        )
        self._tasks_ended = Counter(
            "agent_relay_tasks_ended", "Tasks ended, by how", ("status",), registry=known
        )
        self._callbacks = Counter(
            "agent_relay_callback_attempts",
            "Attempts at callbacks: delivered, failed for good, or pending another attempt",
            ("status",),
            registry=known,
        )
        self._approvals = Counter(
            "agent_relay_approvals",
            "Approvals by what became of them; pending counts those asked",
            ("status",),
            registry=known,
        )

    def _make_gauges(self) -> None:
        known = self.registry
        Info("agent_relay_build", "The running version", registry=known).info(
            {"version": __version__}
        )
        self._gauges = {
            name: Gauge(f"agent_relay_{name}", about, labels, registry=known)
            for name, (about, labels) in _GAUGES.items()
        }

    # -- what happens

    def answered(self, method: str, route: str | None, status: int, seconds: float | None) -> None:
        """A request has its answer; no seconds: its time says nothing about the relay."""
        key = (method, route, status // 100)
        counter = self._by_request.get(key)
        if counter is None:
            counter = self._requests.labels(*_route(method, route), f"{status // 100}xx")
            if method in _METHODS:
                self._by_request[key] = counter
        counter.inc()
        if seconds is not None and route is not None:
            histogram = self._by_route.get(key[:2])
            if histogram is None:
                histogram = self._durations.labels(*_route(method, route))
                self._by_route[key[:2]] = histogram
            histogram.observe(seconds)

    def sent(self, *, is_held: bool) -> None:
        """A message is durable."""
        self._sent.inc()
        if is_held:
            self._held.inc()

    def receipt(self, state: str, count: int = 1) -> None:
        """Messages got as far as this with a receiver."""
        self._receipts.labels(state).inc(count)

    def delivered(self, state: str, seconds: float) -> None:
        """How long a message took to a receiver, to be handed or in context."""
        self._delivery.labels(state).observe(max(0.0, seconds))

    def task_reported(self, *, is_new: bool) -> None:
        """A task was made, or came again."""
        (self._tasks_reported if is_new else self._tasks_deduped).inc()

    def task_ended(self, status: str) -> None:
        """A task has come to its end."""
        self._tasks_ended.labels(status).inc()

    def callback_attempt(self, status: str) -> None:
        """An attempt has its result."""
        self._callbacks.labels(status).inc()

    def approval(self, status: str) -> None:
        """An approval was asked for, or has come to its end."""
        self._approvals.labels(status).inc()

    # -- what is

    def render(self, present: Mapping[str, float | Mapping[str, float]]) -> bytes:
        """The text format; `present` has a value, or values by label, for each gauge."""
        with self._rendering:
            for name, gauge in self._gauges.items():
                value = present[name]
                if isinstance(value, Mapping):
                    gauge.clear()
                    for label, number in value.items():
                        gauge.labels(label).set(number)
                else:
                    gauge.set(value)
            return generate_latest(self.registry)


_GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "agents": ("Registered agents by status", ("status",)),
    "machines": ("Known machines by status", ("status",)),
    "tasks": ("Stored tasks by status", ("status",)),
    "messages": ("Stored messages", ()),
    "messages_unclaimed": ("Claimable messages that wait for somebody", ()),
    "approvals_pending": ("Approvals that wait for a person", ()),
    "streams": ("Open streams", ()),
    "streams_limit": ("How many streams may be open", ()),
    "parked_requests": ("Threads that wait for a stream or a long poll", ()),
    "database_bytes": ("Size of the database with its write-ahead log", ()),
    "start_time_seconds": ("When the relay started, in seconds since 1970", ()),
}


def _route(method: str, route: str | None) -> tuple[str, str]:
    """Whatever clients make up falls together."""
    return method if method in _METHODS else "other", route or _UNROUTED
