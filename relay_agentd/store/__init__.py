"""The daemon's memory on disk: sessions, inbox, deliveries, outbox, commands, in one SQLite file.

`Store` opens it and holds one object for each concern. Used by the event loop's thread alone;
writes are short. Every change of state is written before the effect it announces.
"""

from collections.abc import Callable
from pathlib import Path

from relay_agentd.errors import StoreUnusable
from relay_agentd.store.commands import CommandStore
from relay_agentd.store.database import Database
from relay_agentd.store.mail import MailStore
from relay_agentd.store.outbox import OutboxStore
from relay_agentd.store.sessions import SessionStore


class Store:
    """The open database, by concern."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises: StoreUnusable."""
        self._database = Database(path)
        self.sessions = SessionStore(self._database)
        self.mail = MailStore(self._database)
        self.outbox = OutboxStore(self._database)
        self.commands = CommandStore(self._database)

    def on_failure(self, failed: Callable[[StoreUnusable], object]) -> None:
        """Have `failed` told when the file cannot be used, whoever finds it out."""
        self._database.failed = failed

    def prune(self, before: float) -> None:
        """Forget what is over and was before that time."""
        self.sessions.prune(before)
        self.mail.prune(before)
        self.outbox.prune(before)
        self.commands.prune(before)

    def close(self) -> None:
        """Close the file."""
        self._database.close()
