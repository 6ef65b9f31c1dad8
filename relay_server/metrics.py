"""What the relay counts and measures, for Prometheus; the only module that knows its library.

Any thread may call the methods of `Metrics`; each takes a microsecond or two. Labels are words of
the code (methods, route templates, states), never anything a client made up, so that their number
is bounded. It reads nothing by itself: `render` is given what only the database knows.
"""

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

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


class Kind(NamedTuple):
    """What one metric is: its meaning, its labels and, for a histogram, its buckets in seconds."""

    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# Each name follows `agent_relay_`; counters are shown with `_total` behind it.
COUNTERS: Final[Mapping[str, Kind]] = {
    "http_requests": Kind(
        "Requests answered, by method, route and class of status", ("method", "route", "status")
    ),
    "messages_sent": Kind("Messages accepted"),
    "messages_held": Kind("Messages held by the loop guard"),
    "receipts": Kind("Steps of messages on their way to a receiver", ("state",)),
    "tasks_reported": Kind("Reports that made a task"),
    "tasks_deduped": Kind("Reports of a task that was there already"),
    "tasks_ended": Kind("Tasks ended, by how", ("status",)),
    "callback_attempts": Kind(
        "Attempts at callbacks: delivered, failed for good, or pending another attempt", ("status",)
    ),
    "approvals": Kind("Approvals asked for (pending), and what became of them", ("status",)),
}
HISTOGRAMS: Final[Mapping[str, Kind]] = {
    "http_request_duration_seconds": Kind(
        "From a request's head to its answer, without streams and what waits for something",
        ("method", "route"),
        _REQUEST_BUCKETS,
    ),
    "delivery_duration_seconds": Kind(
        "From the acceptance of a message until a receiver reached the state",
        ("state",),
        _DELIVERY_BUCKETS,
    ),
}
GAUGES: Final[Mapping[str, Kind]] = {
    "agents": Kind("Registered agents by status", ("status",)),
    "machines": Kind("Known machines by status", ("status",)),
    "tasks": Kind("Stored tasks by status", ("status",)),
    "messages": Kind("Stored messages"),
    "messages_unclaimed": Kind("Claimable messages that wait for somebody"),
    "approvals_pending": Kind("Approvals that wait for a person"),
    "streams": Kind("Open streams"),
    "streams_limit": Kind("How many streams may be open"),
    "parked_requests": Kind("Requests that wait in a long poll, each in a thread"),
    "database_bytes": Kind("Size of the database with its write-ahead log"),
    "start_time_seconds": Kind("When the relay started, in seconds since 1970"),
}


class Metrics:
    """One relay's metrics, with a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("agent_relay_build", "The running version", registry=self.registry).info(
            {"version": __version__}
        )
        self._counters = {
            name: Counter(f"agent_relay_{name}", kind.about, kind.labels, registry=self.registry)
            for name, kind in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(f"agent_relay_{name}", kind.about, kind.labels, registry=self.registry)
            for name, kind in GAUGES.items()
        }
        self._histograms = {
            name: Histogram(
                f"agent_relay_{name}",
                kind.about,
                kind.labels,
                buckets=kind.buckets,
                registry=self.registry,
            )
            for name, kind in HISTOGRAMS.items()
        }
        self._by_request: dict[tuple[str, str | None, int], Counter] = {}
        self._by_route: dict[tuple[str, str | None], Histogram] = {}
        self._rendering = threading.Lock()

    # -- what happens

    def answered(self, method: str, route: str | None, status: int, seconds: float | None) -> None:
        """A request has its answer; no seconds: its time says nothing about the relay."""
        key = (method, route, status // 100)
        counter = self._by_request.get(key)
        if counter is None:
            words = (*_route(method, route), f"{status // 100}xx")
            counter = self._counters["http_requests"].labels(*words)
            if method in _METHODS:
                self._by_request[key] = counter
        counter.inc()
        if seconds is not None and route is not None:
            histogram = self._by_route.get(key[:2])
            if histogram is None:
                histogram = self._histograms["http_request_duration_seconds"].labels(
                    *_route(method, route)
                )
                self._by_route[key[:2]] = histogram
            histogram.observe(seconds)

    def sent(self, *, is_held: bool) -> None:
        """A message is durable."""
        self._counters["messages_sent"].inc()
        if is_held:
            self._counters["messages_held"].inc()

    def receipt(self, state: str, count: int = 1) -> None:
        """Messages got as far as this with a receiver."""
        self._counters["receipts"].labels(state).inc(count)

    def delivered(self, state: str, seconds: float) -> None:
        """How long a message took to a receiver, to be handed or in context."""
        self._histograms["delivery_duration_seconds"].labels(state).observe(max(0.0, seconds))

    def task_reported(self, *, is_new: bool) -> None:
        """A task was made, or came again."""
        self._counters["tasks_reported" if is_new else "tasks_deduped"].inc()

    def task_ended(self, status: str) -> None:
        """A task has come to its end."""
        self._counters["tasks_ended"].labels(status).inc()

    def callback_attempt(self, status: str) -> None:
        """An attempt has its result."""
        self._counters["callback_attempts"].labels(status).inc()

    def approval(self, status: str) -> None:
        """An approval was asked for, or has come to its end."""
        self._counters["approvals"].labels(status).inc()

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


def _route(method: str, route: str | None) -> tuple[str, str]:
    """Whatever clients make up falls together."""
    return method if method in _METHODS else "other", route or _UNROUTED
