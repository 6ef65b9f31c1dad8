"""Tasks: what integrations, agents and people report, folded by key, claimed, and ended once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from relay_server.domain import lease
from relay_server.domain import task as rules
from relay_server.domain.access import Integration
from relay_server.domain.message import fitting_body
from relay_server.domain.routing import Target
from relay_server.domain.task import Actor, Task
from relay_server.errors import Forbidden, InvalidRequest, NotFound
from relay_server.services import lookup
from relay_server.services import render_tasks as render
from relay_server.services.core import Core
from relay_server.services.integrations import Integrations
from relay_server.services.leases import TASK_KIND, Ending, Leases
from relay_server.services.presence import Presence
from relay_server.services.render import Json
from relay_server.services.sending import Sender, parse_to
from relay_server.services.task_journal import TaskJournal
from relay_server.store import tasks
from relay_server.store.database import Reader, Transaction
from relay_server.store.search import Listing
from relay_server.wire import BUILT_IN_AGENTS, TaskStatus

_MOST_EVENTS: Final = 1000
_FEW: Final = 50


@dataclass(frozen=True, slots=True)
class Maker:
    """Who reports: `source` is shown and keeps keys apart, `sender` signs the message."""

    source: str
    sender: str
    integration: Integration | None = None


class TaskService:
    """Thread-safe; the writer lock makes folding and claiming atomic."""

    def __init__(
        self,
        core: Core,
        presence: Presence,
        leases: Leases,
        journal: TaskJournal,
        *,
        sender: Sender,
        integrations: Integrations,
    ) -> None:
        self._core = core
        self._integrations = integrations
        self._presence = presence
        self._leases = leases
        self._journal = journal
        self._sender = sender

    # -- reporting

    def report(self, maker: Maker, given: Mapping[str, Any], instance: str | None) -> Json:
        """`{task, created, deduped}`: a new task, one more occurrence, or its end.

        Raises: InvalidRequest, NotFound `agent_not_found`, Forbidden, RateLimited.
        """
        _require_complete(given)
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            if maker.integration is None:
                self._sender.require_may_send(transaction, maker.sender, instance, now)
                if maker.source not in BUILT_IN_AGENTS:
                    # A token in its own name is signed for by the relay, and limited all the same.
                    self._sender.require_within_limit(maker.source, now)
            else:
                self._integrations.count_event(maker.integration.name)
            target = parse_to(given["target"]) if given.get("target") is not None else None
            if target is not None:
                _require_reach(maker.integration, target, given.get("channel"))
            key = given.get("dedupeKey")
            active = self._active(transaction, maker, key) if key else None
            if given.get("status") == rules.RESOLVED:
                return self._resolve(transaction, active, maker, now)
            if active is not None:
                return self._fold(transaction, active, maker, now)
            assert target is not None
            task = self._create(transaction, maker, given, target, now)
            return {"task": task, "created": True, "deduped": False}

    @staticmethod
    def _active(reader: Reader, maker: Maker, key: str) -> Task | None:
        is_integration = maker.integration is not None
        return tasks.active_with_key(reader, maker.source, key, is_integration=is_integration)

    def report_all(self, maker: Maker, events: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Several in one transaction: each answer, or the first refusal and nothing done."""
        with self._core.database.write():
            return [self.report(maker, event, None) for event in events]

    def _create(
        self,
        transaction: Transaction,
        maker: Maker,
        given: Mapping[str, Any],
        target: Target,
        now: int,
    ) -> Json:
        task = Task(
            id=tasks.next_id(transaction),
            source=maker.source,
            integration=maker.integration.name if maker.integration else None,
            dedupe_key=given.get("dedupeKey"),
            title=given["title"],
            body=given.get("body"),
            severity=given.get("severity"),
            target=target.address,
            addressed_to=given["target"],
            channel=given.get("channel"),
            status=TaskStatus.OPEN,
            claimed_by=None,
            claimed_at=None,
            lease_expires_at=None,
            progress=None,
            result=None,
            external_url=given.get("externalUrl"),
            metadata=given.get("metadata") or {},
            occurrence_count=1,
            message_id=None,
            created_at=now,
            first_seen_at=now,
            last_seen_at=now,
            updated_at=now,
            ended_at=None,
        )
        task = replace(task, message_id=self._offer(transaction, task, maker, target, now))
        tasks.insert(transaction, task)
        return self._journal.record(transaction, task, "task.created", now, actor=maker.source)

    def _offer(
        self, transaction: Transaction, task: Task, maker: Maker, target: Target, now: int
    ) -> int:
        """The one claimable message to its target; its id."""
        given = {
            "from": maker.sender,
            "to": task.addressed_to,
            "channel": task.channel,
            "subject": task.title,
            "body": fitting_body(rules.message_body(task)),
            "kind": TASK_KIND,
            "priority": rules.priority(task.severity),
            "claimable": True,
            "payload": rules.message_payload(task),
        }
        message = self._sender.store(transaction, given, target, None, now, must_exist=True)
        self._sender.announce(transaction, message, now)
        if maker.integration is None:
            self._sender.count(maker.source, now)
        return message.id

    def _fold(self, transaction: Transaction, task: Task, maker: Maker, now: int) -> Json:
        count = task.occurrence_count + 1
        task = replace(task, occurrence_count=count, last_seen_at=now, updated_at=now)
        tasks.save(transaction, task)
        # An alert storm must not become a storm of callbacks: its sender has this very answer.
        answer = self._journal.record(
            transaction,
            task,
            "task.deduped",
            now,
            actor=maker.source,
            detail={"occurrence": count},
            calls_back=False,
        )
        return {"task": answer, "created": False, "deduped": True}

    def _resolve(self, transaction: Transaction, task: Task | None, maker: Maker, now: int) -> Json:
        if task is None:
            return {"task": None, "created": False, "deduped": False}
        work = self._leases.of_task(transaction, task)
        work = self._leases.complete(
            transaction, work, Ending(detail={"resolved": True}), now, actor=maker.source
        )
        assert work.task is not None
        return {"task": render.task_json(work.task, now), "created": False, "deduped": True}

    # -- work

    def claim(self, task_id: int, agent_id: str, lease_seconds: int, instance: str | None) -> Json:
        """Claims its message too. Raises: Conflict `already_claimed`, `invalid_transition`."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id, instance)
            task = _require(transaction, task_id)
            rules.require_claimable(task)
            # Nobody watches over what is held by one that counts as gone.
            self._presence.alive(transaction, agent, now)
            work = self._leases.of_task(transaction, task)
            work = self._leases.claim(transaction, work, agent_id, now, lease_seconds * 1000)
            assert work.task is not None
            return render.task_json(work.task, now)

    def release(self, task_id: int, agent_id: str, instance: str | None) -> Json:
        """Give it back. Raises: Conflict `not_owner`, `invalid_transition`."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            lookup.require_agent(transaction, agent_id, instance)
            task = _require(transaction, task_id)
            rules.require_claimable(task)
            work = self._leases.of_task(transaction, task)
            lease.require_owner(work.lease, agent_id, now)
            work = self._leases.release(
                transaction, work, now, actor=agent_id, why="its owner gave it back"
            )
            assert work.task is not None
            return render.task_json(work.task, now)

    def update(
        self, task_id: int, actor: Actor, given: Mapping[str, Any], instance: str | None
    ) -> Json:
        """How far it is, or its end. Raises: Conflict `not_owner`, `invalid_transition`."""
        now = self._core.clock.now_ms()
        status = TaskStatus(given["status"])
        detail = {"note": given["note"]} if given.get("note") is not None else {}
        with self._core.database.write() as transaction:
            if not actor.is_integration:
                lookup.require_agent(transaction, actor.name, instance)
            task = _require(transaction, task_id)
            rules.require_may_update(task, actor, now)
            work = self._leases.settled(transaction, self._leases.of_task(transaction, task), now)
            assert work.task is not None
            task = work.task
            rules.require_transition(task, status)
            if status in rules.ENDED:
                ending = Ending(
                    status=status,
                    progress=given.get("progress"),
                    result=given.get("result"),
                    detail=detail,
                )
                work = self._leases.complete(transaction, work, ending, now, actor=actor.name)
                assert work.task is not None
                return render.task_json(work.task, now)
            changes = {n: given[n] for n in ("progress", "result") if given.get(n) is not None}
            task = replace(task, status=status, updated_at=now, **changes)
            tasks.save(transaction, task)
            return self._journal.record(
                transaction, task, "task.status", now, actor=actor.name, detail=detail
            )

    # -- reading

    def get(self, task_id: int, viewer: Integration | None) -> Json:
        """One task. Raises: NotFound, Forbidden."""
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            return render.task_json(self.require_visible(reader, task_id, viewer), now)

    def events(self, task_id: int, viewer: Integration | None) -> list[Json]:
        """Its history, oldest first: the newest thousand entries."""
        with self._core.database.read() as reader:
            self.require_visible(reader, task_id, viewer)
            found = tasks.events(reader, task_id, _MOST_EVENTS)
        return [render.task_event_json(event) for event in found]

    def find(
        self, filters: Mapping[str, Any], q: str | None, limit: int, viewer: Integration | None
    ) -> Json:
        """Newest first, as far as the viewer reaches."""
        among = {}
        if viewer is not None and viewer.targets is not None:
            among["target"] = sorted(viewer.addresses or ())
        if viewer is not None and viewer.channels is not None:
            among["channel"] = sorted(viewer.channels)
        equal = {name: value for name, value in filters.items() if name != "before"}
        wanted = Listing(equal, limit=limit + 1, text=q, before=filters.get("before"), among=among)
        now = self._core.clock.now_ms()
        # What is shown as open must be found as open, also before the next sweep.
        while self._leases.has_expired(now):
            with self._core.database.write() as transaction:
                self._leases.release_expired(transaction, now, _FEW)
        with self._core.database.read() as reader:
            found = tasks.find(reader, wanted)
        return {
            "tasks": [render.task_json(task, now) for task in found[:limit]],
            "more": len(found) > limit,
        }

    @staticmethod
    def require_visible(reader: Reader, task_id: int, viewer: Integration | None) -> Task:
        """Raises: NotFound, Forbidden `target_forbidden`."""
        task = _require(reader, task_id)
        if viewer is not None and not viewer.reaches(task.target, task.channel):
            raise Forbidden(
                f"Task {task_id} is outside of what {viewer.name} may see.",
                code="target_forbidden",
            )
        return task


def _require(reader: Reader, task_id: int) -> Task:
    task = tasks.get(reader, task_id)
    if task is None:
        raise NotFound(f"There is no task {task_id}.", code="task_not_found")
    return task


def _require_complete(given: Mapping[str, Any]) -> None:
    """A resolved event needs only its key, every other one a title and a target."""
    if given.get("status") == rules.RESOLVED:
        required = {"dedupeKey": "is required to resolve"}
    else:
        required = {"title": "is required", "target": "is required"}
    missing = [(name, why) for name, why in required.items() if given.get(name) is None]
    if missing:
        raise InvalidRequest.of(missing)


def _require_reach(integration: Integration | None, target: Target, channel: str | None) -> None:
    """Raises: Forbidden `target_forbidden`, `channel_forbidden`."""
    if integration is None or integration.reaches(target.address, channel):
        return
    addresses = integration.addresses
    if addresses is not None and target.address not in addresses:
        raise Forbidden(
            f"{integration.name} may not post to that target; it may to: "
            f"{', '.join(integration.targets or ()) or 'none'}.",
            code="target_forbidden",
        )
    raise Forbidden(
        f"{integration.name} may post to these channels only, and must name one: "
        f"{', '.join(integration.channels or ()) or 'none'}.",
        code="channel_forbidden",
    )
