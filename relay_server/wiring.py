"""The only place where the parts are put together."""

import threading
from dataclasses import dataclass, field
from typing import Protocol

from relay_server.clock import Clock, SystemClock
from relay_server.http.app import App, Services, build_app
from relay_server.services.access import Access
from relay_server.services.agents import AgentService
from relay_server.services.approvals import ApprovalService
from relay_server.services.callbacks import CallbackService
from relay_server.services.claims import ClaimService
from relay_server.services.commands import CommandService
from relay_server.services.core import Core
from relay_server.services.events import EventLog
from relay_server.services.explain import ExplainService
from relay_server.services.idempotency import IdempotencyService
from relay_server.services.indexer import Indexer
from relay_server.services.integrations import Integrations
from relay_server.services.leases import Leases
from relay_server.services.live import Listeners
from relay_server.services.machines import MachineService
from relay_server.services.presence import Presence
from relay_server.services.reading import ReadingService
from relay_server.services.receipts import ReceiptService
from relay_server.services.sending import Sender
from relay_server.services.slots import Slots
from relay_server.services.stats import StatsService
from relay_server.services.streaming import StreamService
from relay_server.services.sweeper import Sweeper
from relay_server.services.task_journal import TaskJournal
from relay_server.services.tasks import TaskService
from relay_server.services.tokens import Tokens
from relay_server.services.voices import Voices
from relay_server.settings import Settings
from relay_server.store import counters
from relay_server.store.checkpoints import Checkpoints
from relay_server.store.database import Database
from relay_server.store.lockfile import DatabaseLock


class Worker(Protocol):
    """Background work: `run` is its thread, which `close` ends."""

    def run(self) -> None:
        """Work until closed."""
        ...

    def close(self) -> None:
        """End soon."""
        ...


@dataclass(slots=True)
class Relay:
    """A relay that has everything but a socket. `start` and `stop` bracket its threads."""

    app: App
    core: Core
    receipts: ReceiptService
    sweeper: Sweeper
    workers: list[Worker]
    lock: DatabaseLock
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin the background work."""
        for worker in self.workers:
            name = type(worker).__name__
            thread = threading.Thread(target=worker.run, name=name, daemon=True)
            thread.start()
            self.threads.append(thread)

    def wake_all(self) -> None:
        """End streams and long polls, so that their requests finish."""
        self.core.listeners.close()
        self.core.events.close()

    def stop(self) -> None:
        """End the background work and close the database."""
        self.wake_all()
        for worker in self.workers:
            worker.close()
        for thread in self.threads:
            thread.join(timeout=5)
        self.core.database.close()
        self.lock.release()


def build(settings: Settings, clock: Clock | None = None) -> Relay:
    """Open the database and connect the parts. Raises: StartupError."""
    lock = DatabaseLock(settings.database)
    try:
        database = Database(settings.database)
    except BaseException:
        lock.release()
        raise
    core = _core(settings, database, clock or SystemClock())
    access = Access(settings, database, core.clock)
    integrations = Integrations(settings, database, core.clock, access)
    callbacks = CallbackService(core, integrations.by_name)
    journal = TaskJournal(core, callbacks)
    leases = Leases(core, journal)
    approvals = ApprovalService(core)
    presence = Presence(core, leases, approvals)
    commands = CommandService(core, presence)
    sender = Sender(core)
    receipts = ReceiptService(core)
    indexer = Indexer(core)
    services = Services(
        access=access,
        metrics=core.metrics,
        voices=Voices(database),
        idempotency=IdempotencyService(core),
        agents=AgentService(core, presence),
        sender=sender,
        reading=ReadingService(core, receipts, indexer),
        receipts=receipts,
        claims=ClaimService(core, presence, leases, sender),
        explain=ExplainService(core, receipts),
        streams=StreamService(core, receipts),
        machines=MachineService(core, presence),
        stats=StatsService(core),
        tasks=TaskService(
            core, presence, leases, journal, sender=sender, integrations=integrations
        ),
        callbacks=callbacks,
        integrations=integrations,
        tokens=Tokens(database, core.clock, access),
        approvals=approvals,
        commands=commands,
    )
    app = build_app(settings, services)
    sweeper = Sweeper(core, presence, leases, access, approvals=approvals, commands=commands)
    workers: list[Worker] = [
        *(receipts, sweeper, Checkpoints(database)),
        *(callbacks.deliverer, indexer),
    ]
    return Relay(app, core, receipts, sweeper, workers, lock)


def _core(settings: Settings, database: Database, clock: Clock) -> Core:
    return Core(
        settings=settings,
        clock=clock,
        database=database,
        events=EventLog(clock, lambda count: counters.reserve(database, "events", count)),
        listeners=Listeners(),
        slots=Slots(settings.max_streams),
    )
