"""Callbacks: an integration is told of each change to its tasks.

They are written in the transaction of the change; `services.deliverer` sends them afterwards.
"""

from collections.abc import Callable
from typing import Final

from relay_server.domain.access import Integration
from relay_server.ids import new_delivery_id
from relay_server.services.core import Core
from relay_server.services.deliverer import Deliverer
from relay_server.services.render import Json, dumps
from relay_server.services.render_callbacks import callback_json
from relay_server.store import callbacks
from relay_server.store.database import Transaction


class CallbackService:
    """Thread-safe. `deliverer` has the threads; `find_integration` may read the database."""

    def __init__(self, core: Core, find_integration: Callable[[str], Integration | None]) -> None:
        self._core = core
        self._find_integration = find_integration
        self.deliverer: Final = Deliverer(core, find_integration)

    def add(
        self,
        transaction: Transaction,
        *,
        task_id: int,
        integration: str,
        event: str,
        task_json: Json,
        now: int,
    ) -> None:
        """Tell it of a change that `transaction` makes, once that is durable."""
        found = self._find_integration(integration)
        if found is None or found.callback_url is None:
            return
        callbacks.insert(
            transaction,
            delivery_id=new_delivery_id(),
            task_id=task_id,
            integration=integration,
            event=event,
            task=dumps(task_json).decode(),
            now=now,
        )
        transaction.on_commit(self.deliverer.wake)

    def of_task(self, task_id: int, limit: int) -> list[Json]:
        """The newest callbacks of a task, oldest first, with all their attempts."""
        with self._core.database.read() as reader:
            found = callbacks.of_task(reader, task_id, limit)
            return [callback_json(c, callbacks.attempts(reader, c.id)) for c in found]
