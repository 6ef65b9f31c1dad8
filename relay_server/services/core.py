"""What every service works with, in one place to pass along."""

from dataclasses import dataclass, field

from relay_server.clock import Clock
from relay_server.metrics import Metrics
from relay_server.services.events import EventLog
from relay_server.services.live import Listeners
from relay_server.services.slots import Slots
from relay_server.settings import Settings
from relay_server.store.database import Database


@dataclass(frozen=True, slots=True)
class Core:
    """The running parts."""

    settings: Settings
    clock: Clock
    database: Database
    events: EventLog
    listeners: Listeners
    slots: Slots
    metrics: Metrics = field(default_factory=Metrics)
