"""Sends callbacks: at least once, in order per task, also after a crash or a restart.

What is to be sent is only in the database. One thread chooses what is due; each attempt has a
thread of its own that holds nothing during the POST and writes its result down afterwards. If
the relay dies between the two, the callback is sent once more. A task has at most one attempt
under way, an integration a few, so that a slow or dead one costs the others nothing.
"""

import hashlib
import hmac
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relay_server.domain.access import Integration
from relay_server.domain.callback import Attempt, AttemptError, Callback, judge
from relay_server.errors import Unavailable
from relay_server.services.core import Core
from relay_server.services.render_callbacks import callback_body
from relay_server.store import callbacks
from relay_server.store.database import Reader
from relay_server.webhook_client import Outcome, Post, WebhookClient

_log = logging.getLogger(__name__)

_ATTEMPT_SECONDS: Final = 10.0
# A task's changes go one by one, so more would only serve storms of new tasks.
_MOST_OF_ONE: Final = 4
_MOST: Final = 64
# The wall clock may be set: look again at least this often while something waits.
_LONGEST_PAUSE_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0
# A stopping relay lets attempts end for a moment, then cuts them.
_GRACE_SECONDS: Final = 1.0
_END_SECONDS: Final = 3.0


@dataclass(eq=False, slots=True)
class _Delivery:
    """An attempt under way."""

    callback: Callback
    deadline: float
    post: Post = field(default_factory=Post)
    thread: threading.Thread | None = None


_UnderWay = Mapping[int, _Delivery]


class Deliverer:
    """`run` is the choosing thread; it starts and ends the others."""

    def __init__(self, core: Core, find_integration: Callable[[str], Integration | None]) -> None:
        self._core = core
        self._find_integration = find_integration
        self._client = WebhookClient()
        self._lock = threading.Lock()
        self._under_way: dict[int, _Delivery] = {}
        self._has_news = threading.Event()
        self._is_closed = threading.Event()

    def wake(self) -> None:
        """There may be something to send."""
        self._has_news.set()

    def close(self) -> None:
        """End every thread within a few seconds."""
        self._is_closed.set()
        self._has_news.set()

    # -- choosing: the thread of `run`

    def run(self) -> None:
        """Send what is due until closed."""
        while not self._is_closed.is_set():
            try:
                pause = self._begin_due(self._core.clock.now_ms())
            except Unavailable:
                # Said and logged where it happened.
                pause = _RETRY_SECONDS
            except Exception:  # noqa: BLE001 - a thread's main loop: log, go on
                _log.exception("choosing callbacks failed")
                pause = _RETRY_SECONDS
            self._has_news.wait(pause)
            self._has_news.clear()
        self._end()

    def _begin_due(self, now: int) -> float | None:
        """Begin what may begin; for how many seconds nothing else is to be done."""
        # Before the database is read: whoever is not in it has written its result down.
        with self._lock:
            under_way = dict(self._under_way)
        ticks = self._core.clock.monotonic()
        self._cut_late(under_way, ticks)
        with self._core.database.read() as reader:
            due, next_due = self._choose(reader, now, under_way)
        begun = [self._begin(callback, ticks + _ATTEMPT_SECONDS) for callback in due]
        pauses = [
            delivery.deadline - ticks
            for delivery in (*under_way.values(), *begun)
            if not delivery.post.is_cut
        ]
        if next_due is not None:
            pauses.append(min((next_due - now) / 1000, _LONGEST_PAUSE_SECONDS))
        return min(pauses, default=None)

    def _choose(
        self, reader: Reader, now: int, under_way: _UnderWay
    ) -> tuple[list[Callback], int | None]:
        """What to begin now, and when the next one becomes due."""
        busy = Counter(delivery.callback.integration for delivery in under_way.values())
        chosen: list[Callback] = []
        later: list[int] = []
        # When all together have too much under way, those with the least go first.
        for name in sorted(callbacks.waiting_integrations(reader), key=lambda n: busy[n]):
            room = min(_MOST_OF_ONE - busy[name], _MOST - len(under_way) - len(chosen))
            if room > 0:
                due = callbacks.due(reader, name, now, room + busy[name])
                chosen += [c for c in due if c.task_id not in under_way][:room]
            next_due = callbacks.next_due(reader, name, now)
            if next_due is not None:
                later.append(next_due)
        return chosen, min(later, default=None)

    def _cut_late(self, under_way: _UnderWay, ticks: float) -> None:
        for delivery in under_way.values():
            if delivery.deadline <= ticks and not delivery.post.is_cut:
                delivery.post.cut()

    def _begin(self, callback: Callback, deadline: float) -> _Delivery:
        delivery = _Delivery(callback, deadline)
        delivery.thread = threading.Thread(
            target=self._deliver, args=(delivery,), name=f"callback-{callback.id}", daemon=True
        )
        with self._lock:
            delivery.thread.start()
            self._under_way[callback.task_id] = delivery
        return delivery

    def _end(self) -> None:
        with self._lock:
            left = list(self._under_way.values())
        _join(left, _GRACE_SECONDS)
        for delivery in left:
            delivery.post.cut()
        _join(left, _END_SECONDS)
        self._client.close()

    # -- one attempt: a thread of its own

    def _deliver(self, delivery: _Delivery) -> None:
        try:
            attempt = self._attempt(delivery)
            is_ours = self._is_closed.is_set() and delivery.post.is_cut
            if is_ours and attempt.status_code is None:
                return  # no failure of the receiver's: the next start tries again
            self._record(delivery.callback, attempt)
        except Exception:  # noqa: BLE001 - a thread's main loop: log, go on
            _log.exception("an attempt at a callback failed")
            # It is still due: not at once again.
            self._is_closed.wait(_RETRY_SECONDS)
        finally:
            with self._lock:
                del self._under_way[delivery.callback.task_id]
            self._has_news.set()

    def _attempt(self, delivery: _Delivery) -> Attempt:
        callback, clock = delivery.callback, self._core.clock
        at, begun = clock.now_ms(), clock.monotonic()
        integration = self._find_integration(callback.integration)
        if integration is None:
            outcome = Outcome(None, AttemptError.INTEGRATION_REMOVED)
        elif integration.callback_url is None:
            outcome = Outcome(None, AttemptError.NO_CALLBACK_URL)
        else:
            body = callback_body(callback, at)
            headers = _headers(callback, integration.callback_secret, body)
            outcome = self._send(delivery.post, integration.callback_url, headers, body)
        duration = round((clock.monotonic() - begun) * 1000)
        return Attempt(callback.attempts + 1, at, *outcome, duration)

    def _send(self, post: Post, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        try:
            return self._client.send(post, url, headers, body)
        except Exception:  # noqa: BLE001 - a failure of ours counts, or it would be tried without end
            _log.exception("a callback could not be sent")
            return Outcome(None, AttemptError.INTERNAL)

    def _record(self, callback: Callback, attempt: Attempt) -> None:
        """Write it down, however long the database does not answer: else it is sent again."""
        while True:
            now = self._core.clock.now_ms()
            verdict = judge(callback.created_at, attempt, now, random.random())  # noqa: S311
            try:
                with self._core.database.write() as transaction:
                    callbacks.record(transaction, callback, attempt, verdict, now)
                break
            except Unavailable:
                if self._is_closed.wait(_RETRY_SECONDS):
                    return
        self._core.metrics.callback_attempt(verdict.status)


def _headers(callback: Callback, secret: str | None, body: bytes) -> dict[str, str]:
    headers = {
        "X-Agent-Relay-Delivery": callback.delivery_id,
        "X-Agent-Relay-Event": callback.event,
    }
    if secret:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Agent-Relay-Signature"] = f"sha256={digest}"
    return headers


def _join(deliveries: list[_Delivery], seconds: float) -> None:
    """Wait for them together."""
    ends_at = time.monotonic() + seconds
    for delivery in deliveries:
        assert delivery.thread is not None
        delivery.thread.join(max(0.0, ends_at - time.monotonic()))
