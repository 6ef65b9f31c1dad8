"""Callbacks on a real database with threads of their own, and time that stands until moved."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_server import wiring
from relay_server.domain.access import Integration
from relay_server.services.callbacks import CallbackService
from relay_server.services.core import Core
from relay_server.settings import from_sources
from relay_server.store.database import Database
from tests.support.wait import eventually

Json = dict[str, Any]


@dataclass(slots=True)
class StandingClock:
    """Goes on only by `advance`."""

    now: int = 1_800_000_000_000
    readings: int = 0

    def now_ms(self) -> int:
        self.readings += 1
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000


@dataclass(slots=True)
class Bench:
    """`start` and `stop` bracket a relay's life; what it knows stays in the database."""

    folder: Path
    clock: StandingClock = field(default_factory=StandingClock)
    integrations: dict[str, Integration] = field(default_factory=dict)
    core: Core = field(init=False)
    service: CallbackService = field(init=False)
    thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        database = self.folder / "relay.db"
        settings = from_sources([{"AGENT_RELAY_DB": str(database)}])
        self.core = wiring._core(settings, Database(database), self.clock)
        self.service = CallbackService(self.core, self.integrations.get)

    def start(self) -> "Bench":
        self.thread = threading.Thread(target=self.service.deliverer.run)
        self.thread.start()
        return self

    def stop(self) -> None:
        """Again is harmless."""
        if self.thread is not None:
            self.service.deliverer.close()
            self.thread.join(timeout=5)
            assert not self.thread.is_alive()
            self.thread = None
        self.core.database.close()

    def restart(self) -> None:
        self.stop()
        self.open()
        self.start()

    def advance(self, milliseconds: int) -> None:
        self.clock.now += milliseconds
        self.service.deliverer.wake()

    # -- what happens

    def integration(self, name: str, url: str | None, secret: str | None = None) -> None:
        self.integrations[name] = Integration(
            name=name, scopes=frozenset(), callback_url=url, callback_secret=secret
        )

    def task(self, task_id: int) -> None:
        with self.core.database.write() as transaction:
            transaction.run(
                "INSERT INTO tasks (id, source, title, target, addressed_to, status, created_at,"
                " first_seen_at, last_seen_at, updated_at)"
                " VALUES (?, 's', 't', 'a', 'a', 'open', 0, 0, 0, 0)",
                (task_id,),
            )

    def add(self, task_id: int, *events: str, integration: str = "ci") -> None:
        """Write callbacks of a task, all in one change."""
        with self.core.database.write() as transaction:
            for event in events:
                self.service.add(
                    transaction,
                    task_id=task_id,
                    integration=integration,
                    event=event,
                    task_json={"id": task_id, "title": "Größe"},
                    now=self.clock.now,
                )

    # -- what came of it

    def of_task(self, task_id: int) -> list[Json]:
        return self.service.of_task(task_id, limit=50)

    def wait_until(self, task_id: int, *statuses: str) -> list[Json]:
        """The task's callbacks, once they are so."""
        eventually(
            lambda: tuple(c["status"] for c in self.of_task(task_id)) == statuses,
            message=lambda: str(self.of_task(task_id)),
        )
        return self.of_task(task_id)

    def wait_for_attempts(self, task_id: int, *counts: int) -> list[Json]:
        """The task's callbacks, once each has had that many attempts."""
        eventually(
            lambda: tuple(len(c["attempts"]) for c in self.of_task(task_id)) == counts,
            message=lambda: str(self.of_task(task_id)),
        )
        return self.of_task(task_id)
