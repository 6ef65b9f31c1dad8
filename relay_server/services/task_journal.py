"""What happens to tasks, told three times: in their history, to callbacks, to whoever listens.

The first two are rows of the change's own transaction; listeners hear after its commit.
"""

from collections.abc import Mapping
from typing import Any

from relay_server.domain.task import Task
from relay_server.services import render_tasks as render
from relay_server.services.callbacks import CallbackService
from relay_server.services.core import Core
from relay_server.services.render import Json
from relay_server.store import tasks
from relay_server.store.database import Transaction


class TaskJournal:
    """Used within a write transaction by whoever changes a task."""

    def __init__(self, core: Core, callbacks: CallbackService) -> None:
        self._core = core
        self._callbacks = callbacks

    def record(
        self,
        transaction: Transaction,
        task: Task,
        event: str,
        now: int,
        *,
        actor: str | None,
        detail: Mapping[str, Any] | None = None,
        calls_back: bool = True,
    ) -> Json:
        """Note what made the task what it is now; the task as JSON."""
        entry = tasks.TaskEvent(
            task_id=task.id,
            type=event,
            at=now,
            actor=actor,
            status=task.status,
            detail=dict(detail or {}),
        )
        tasks.add_event(transaction, entry)
        answer = render.task_json(task, now)
        if calls_back and task.integration is not None:
            self._callbacks.add(
                transaction,
                task_id=task.id,
                integration=task.integration,
                event=event,
                task_json=answer,
                now=now,
            )
        core = self._core

        def tell() -> None:
            core.events.add(event, task=answer)
            if event in ("task.created", "task.deduped"):
                core.metrics.task_reported(is_new=event == "task.created")
            elif event == "task.status" and task.is_ended:
                core.metrics.task_ended(task.status)

        transaction.on_commit(tell)
        return answer
