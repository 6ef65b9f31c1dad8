"""Who holds which work: the one writer of the claims of messages and of tasks.

A task is offered by a message, so their claims are one: they begin, lapse and end together,
whichever of the two is named. Called within a write transaction, which makes it atomic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from relay_server.domain import lease
from relay_server.domain.lease import Lease
from relay_server.domain.message import Message
from relay_server.domain.task import Task
from relay_server.services import render
from relay_server.services.core import Core
from relay_server.services.task_journal import TaskJournal
from relay_server.store import messages, receipts, tasks
from relay_server.store.database import Reader, Transaction
from relay_server.wire import TaskStatus

TASK_KIND: Final = "task"
_EXPIRED: Final = "its lease expired"


@dataclass(frozen=True, slots=True)
class Work:
    """A claimable message, a task, or both; a task's message may have been deleted."""

    message: Message | None
    task: Task | None

    @property
    def lease(self) -> Lease | None:
        """Theirs."""
        if self.message is not None:
            return self.message.lease
        return self.task.lease if self.task is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How work ended; what is None stays as the task has it."""

    status: TaskStatus = TaskStatus.DONE
    progress: int | None = None
    result: Any = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Leases:
    """Owns every change of `messages.claim_*` and `tasks.claimed_*`."""

    def __init__(self, core: Core, journal: TaskJournal) -> None:
        self._core = core
        self._journal = journal

    @staticmethod
    def of_message(reader: Reader, message: Message) -> Work:
        """The work that a message offers."""
        task = tasks.of_message(reader, message.id) if message.kind == TASK_KIND else None
        return Work(message, task)

    @staticmethod
    def of_task(reader: Reader, task: Task) -> Work:
        """The work that a task is."""
        message = messages.get(reader, task.message_id) if task.message_id is not None else None
        return Work(message, task)

    def claim(
        self, transaction: Transaction, work: Work, agent_id: str, now: int, lease_ms: int
    ) -> Work:
        """Raises: Conflict `already_claimed`."""
        work = self.settled(transaction, work, now)
        before = work.lease
        held = lease.claim(before, agent_id, now, lease_ms)
        message = self._on_message(transaction, work.message, held, "message.claimed", now)
        task = work.task
        if task is not None:
            # Renewing changes nothing else.
            status = TaskStatus.CLAIMED if before is None else task.status
            tasks.set_lease(transaction, task.id, held, status, now)
            task = _reread(transaction, task)
            if before is None:
                self._journal.record(transaction, task, "task.claimed", now, actor=agent_id)
        return Work(message, task)

    def settled(self, transaction: Transaction, work: Work, now: int) -> Work:
        """The work without a lease whose time is over: swept or not, it holds nothing."""
        if work.lease is None or work.lease.is_active(now):
            return work
        return self._freed(transaction, work, now, actor=None, why=_EXPIRED)

    def release(
        self, transaction: Transaction, work: Work, now: int, *, actor: str | None, why: str
    ) -> Work:
        """It ends unfinished, and is open again: who matches and was not handed it is shown it."""
        work = self._freed(transaction, work, now, actor=actor, why=why)
        if work.message is not None and not work.message.is_expired(now):
            self._offer_again(transaction, work.message, now)
        return work

    def _freed(
        self, transaction: Transaction, work: Work, now: int, *, actor: str | None, why: str
    ) -> Work:
        message = self._on_message(transaction, work.message, None, "message.released", now)
        task = work.task
        if task is not None and not task.is_ended:
            tasks.set_lease(transaction, task.id, None, TaskStatus.OPEN, now)
            task = _reread(transaction, task)
            self._journal.record(
                transaction, task, "task.released", now, actor=actor, detail={"why": why}
            )
        return Work(message, task)

    def has_expired(self, now: int) -> bool:
        """Whether there is a claim whose time is over."""
        with self._core.database.read() as reader:
            return bool(
                messages.expired_leases(reader, now, 1) or tasks.expired_leases(reader, now, 1)
            )

    def release_expired(self, transaction: Transaction, now: int, most: int) -> bool:
        """Some of those; whether there may be more."""
        lapsed = messages.expired_leases(transaction, now, most)
        for message in lapsed:
            work = self.of_message(transaction, message)
            self.release(transaction, work, now, actor=None, why=_EXPIRED)
        # What is left has lost its message.
        alone = tasks.expired_leases(transaction, now, most - len(lapsed))
        for task in alone:
            self.release(transaction, Work(None, task), now, actor=None, why=_EXPIRED)
        return len(lapsed) + len(alone) == most

    def release_all(self, transaction: Transaction, agent_id: str, now: int, why: str) -> None:
        """Whatever an agent holds and has not finished."""
        for message in messages.leased_by(transaction, agent_id):
            work = self.of_message(transaction, message)
            self.release(transaction, work, now, actor=agent_id, why=why)
        for task in tasks.held_by(transaction, agent_id):
            self.release(transaction, Work(None, task), now, actor=agent_id, why=why)

    def complete(
        self, transaction: Transaction, work: Work, ending: Ending, now: int, *, actor: str
    ) -> Work:
        """It has ended, for good."""
        work = self.settled(transaction, work, now)
        message, task = work.message, work.task
        if message is not None and message.completed_at is None:
            messages.set_completed(transaction, message.id, actor, now)
            message = self._told(transaction, message.id, "message.completed", now)
        if task is not None and not task.is_ended:
            task = replace(
                task,
                status=ending.status,
                progress=task.progress if ending.progress is None else ending.progress,
                result=task.result if ending.result is None else ending.result,
                updated_at=now,
                ended_at=now,
            )
            tasks.save(transaction, task)
            self._journal.record(
                transaction, task, "task.status", now, actor=actor, detail=ending.detail
            )
        return Work(message, task)

    def _on_message(
        self,
        transaction: Transaction,
        message: Message | None,
        held: Lease | None,
        event: str,
        now: int,
    ) -> Message | None:
        if message is None:
            return None
        messages.set_lease(transaction, message.id, held)
        return self._told(transaction, message.id, event, now)

    def _offer_again(self, transaction: Transaction, message: Message, now: int) -> None:
        """To open streams and polls."""
        rendered = render.dumps(render.message_json(message, now))
        found = receipts.of_message(transaction, message.id).values()
        taken = frozenset(receipt.agent_id for receipt in found if receipt.is_taken)
        listeners = self._core.listeners
        transaction.on_commit(lambda: listeners.offer_message(message, rendered, taken))

    def _told(self, transaction: Transaction, message_id: int, event: str, now: int) -> Message:
        message = messages.get(transaction, message_id)
        assert message is not None
        rendered = render.message_json(message, now)
        transaction.on_commit(lambda: self._core.events.add(event, message=rendered))
        return message


def _reread(reader: Reader, task: Task) -> Task:
    found = tasks.get(reader, task.id)
    assert found is not None
    return found
