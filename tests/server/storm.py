"""Clients that send, report, claim and update all at once, and keep a book of what was answered.

What a dying relay did not answer is asked again, with the same idempotency key where there is
one, until it is answered. So in the end everything in the book must be there exactly once.
"""

import random
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.wait import eventually

INTEGRATION, TOKEN = "ci", "s3cret-of-ci"
_DONE = 100
_STEP = 25


@dataclass(slots=True)
class Book:
    """What the relay has acknowledged."""

    sent: dict[str, int] = field(default_factory=dict)
    reported: dict[str, int] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    # Of each task: how far; `_DONE` is done.
    progress: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Storm:
    """All clients. `is_up` lets them call, `is_over` lets them end after their last answer."""

    def __init__(self, url: str, clients: int) -> None:
        self.url = url
        self.book = Book()
        self.is_up = threading.Event()
        self.is_over = threading.Event()
        self.answers = 0
        self.lock = threading.Lock()
        self.names = [f"worker-{number}" for number in range(clients)]
        self._clients = [_Client(self, name, seed) for seed, name in enumerate(self.names)]

    def wait_for_answers(self, more: int) -> None:
        """Until so many more were given, or something is wrong."""
        enough = self.answers + more
        eventually(lambda: self.book.wrong or self.answers >= enough, within=20)

    def __enter__(self) -> "Storm":
        for client in self._clients:
            client.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.is_up.set()
        for client in self._clients:
            client.thread.join(timeout=30)
            assert not client.thread.is_alive()


class _Client:
    """One agent that also speaks for the integration."""

    def __init__(self, storm: Storm, name: str, seed: int) -> None:
        self.name = name
        self.thread = threading.Thread(target=self._run, name=name)
        self._storm = storm
        self._random = random.Random(seed)
        self._count = 0
        self._owned: dict[int, int] = {}

    def _run(self) -> None:
        storm = self._storm
        doings = (self._send, self._report, self._claim, self._update)
        with httpx.Client(base_url=storm.url, trust_env=False, timeout=30) as self._http:
            while not storm.is_over.is_set():
                try:
                    self._random.choice(doings)()
                except Exception as error:
                    storm.book.wrong.append(f"{self.name}: {error!r}")
                    return
                with storm.lock:
                    storm.answers += 1

    def _call(self, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
        """Until it is answered."""
        while True:
            self._storm.is_up.wait()
            try:
                return self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                # At the end of the storm the relay is up: then this is no kill of ours.
                if self._storm.is_over.is_set():
                    raise

    def _key(self) -> str:
        self._count += 1
        return f"{self.name}/{self._count}"

    def _expect(self, answer: httpx.Response, *statuses: int) -> Any:
        assert answer.status_code in statuses, f"{answer.request.url} {answer.text}"
        return answer.json()

    # -- what it does

    def _send(self) -> None:
        key, book = self._key(), self._storm.book
        body = {"from": self.name, "to": "broadcast", "body": key}
        message = self._expect(
            self._call("POST", "/api/messages", body, **{"Idempotency-Key": key}), 201
        )
        book.sent[key] = message["id"]

    def _report(self) -> None:
        key, book = self._key(), self._storm.book
        answer = self._call(
            "POST",
            "/api/integrations/events",
            {"title": key, "target": "broadcast"},
            **{"Idempotency-Key": key, "Authorization": f"Bearer {TOKEN}"},
        )
        book.reported[key] = self._expect(answer, 201)["task"]["id"]

    def _claim(self) -> None:
        """One that others want too, by its own number or by its message's."""
        book = self._storm.book
        with self._storm.lock:
            free = [t for t in list(book.reported.values())[-64:] if t not in book.owners]
        if not free:
            return
        task_id = self._random.choice(free)
        path = f"/api/tasks/{task_id}/claim"
        if self._random.random() < 0.5:
            task = self._http_get(f"/api/tasks/{task_id}")
            path = f"/api/messages/{task['messageId']}/claim"
        answer = self._call("POST", path, {"agentId": self.name, "leaseSeconds": 3600})
        given = self._expect(answer, 200, 409)
        if given.get("code") == "invalid_transition":  # its owner was quick, and has ended it
            return
        owner = self.name if answer.status_code == 200 else given["claimedBy"]
        with self._storm.lock:
            known = book.owners.setdefault(task_id, owner)
        assert known == owner, f"task {task_id} belongs to {known} and to {owner}"
        if owner == self.name:
            self._owned.setdefault(task_id, 0)

    def _http_get(self, path: str) -> Any:
        return self._expect(self._call("GET", path, None), 200)

    def _update(self) -> None:
        open_ones = [task_id for task_id, progress in self._owned.items() if progress < _DONE]
        if not open_ones:
            return
        task_id = self._random.choice(open_ones)
        progress = self._owned[task_id] + _STEP
        status = "done" if progress == _DONE else "in_progress"
        answer = self._call(
            "PATCH",
            f"/api/tasks/{task_id}/status",
            {"agentId": self.name, "status": status, "progress": progress},
        )
        given = self._expect(answer, 200, 409)
        # Its end was written, and its answer lost.
        assert answer.status_code == 200 or (status, given["from"]) == ("done", "done"), given
        self._owned[task_id] = progress
        self._storm.book.progress[task_id] = progress
