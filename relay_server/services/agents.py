"""Who is on the relay: registering, presence, descriptions, leaving."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from relay_server.domain.agent import Agent, default_name, stricter
from relay_server.errors import Conflict, Forbidden, InvalidRequest
from relay_server.services import lookup, render
from relay_server.services.core import Core
from relay_server.services.presence import Presence
from relay_server.store import agents, inbox, messages, unread
from relay_server.store.database import Reader, Transaction
from relay_server.wire import RESERVED_IDS, AgentStatus

# Contract field -> ours, for what a client may say about an agent.
_FIELDS: Final = {
    "name": "name",
    "machine": "machine",
    "provider": "provider",
    "rig": "rig",
    "project": "project",
    "sessionId": "session_id",
    "cwd": "cwd",
    "pid": "pid",
    "tags": "tags",
    "capabilities": "capabilities",
    "channels": "channels",
    "status": "status",
    "statusDetail": "status_detail",
    "approvalMode": "approval_mode",
    "reachability": "reachability",
    "version": "version",
    "meta": "meta",
}


class AgentService:
    """Thread-safe; owns nothing but its core."""

    def __init__(self, core: Core, presence: Presence) -> None:
        self._core = core
        self._presence = presence

    # -- reading

    def get(self, agent_id: str) -> render.Json:
        """One agent."""
        with self._core.database.read() as reader:
            return self._render(reader, lookup.require_agent(reader, agent_id))

    def find(
        self, filters: Mapping[str, str], q: str | None, most: int | None
    ) -> list[render.Json]:
        """Those that match every filter; `q` in id, name, label, project or a tag."""
        with self._core.database.read() as reader:
            found = agents.find(reader, dict(filters), q.casefold() if q else None, most)
            counted = unread.counts(reader, found, now=self._core.clock.now_ms())
        return [render.agent_json(agent, counted[agent.id]) for agent in found]

    def _render(self, reader: Reader, agent: Agent) -> render.Json:
        counted = unread.counts(reader, [agent], now=self._core.clock.now_ms())
        return render.agent_json(agent, counted[agent.id])

    def _answer(self, agent: Agent) -> render.Json:
        """After the change: counting mail is nothing that other writers should wait for."""
        with self._core.database.read() as reader:
            return self._render(reader, agent)

    # -- registering and changing

    def register(
        self, given: Mapping[str, Any], *, may_loosen: bool = True
    ) -> tuple[render.Json, bool]:
        """Upsert by id; the agent and whether it is new.

        Who may not loosen an approval mode keeps the stricter one, unless a new run of an agent
        that was offline begins: that is a person at a terminal.

        Raises: Conflict `stale_instance`, InvalidRequest.
        """
        agent_id = given["id"]
        if agent_id in RESERVED_IDS:
            raise InvalidRequest.of([("id", "is a reserved word")])
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            before = agents.get(transaction, agent_id)
            if before is None:
                newest = messages.newest_id(transaction)
                before_or_new = Agent(
                    id=agent_id,
                    name="",
                    inbox_start=newest,
                    cursor=newest,
                    registered_at=now,
                )
            else:
                before_or_new = before
            agent = self._with_instance(
                transaction, before_or_new, given.get("instanceId"), is_new=before is None
            )
            is_new_run = agent.epoch != before_or_new.epoch and before_or_new.is_offline
            agent = _described(agent, given)
            if before is not None and not may_loosen and not is_new_run:
                mode = stricter(before.approval_mode, agent.approval_mode)
                agent = replace(agent, approval_mode=mode)
            if "status" not in given and agent.is_offline:
                agent = replace(agent, status=AgentStatus.IDLE)
            agent = self._presence.seen(transaction, before, agent, now)
            agent = _rewound(transaction, before, agent, now)
            agents.save(transaction, agent)
            if agent.instance_id:
                agents.add_instance(transaction, agent.id, agent.instance_id, agent.epoch)
            answer = self._render(transaction, agent)
            self._tell(transaction, before, agent, answer)
        return answer, before is None

    @staticmethod
    def _with_instance(
        reader: Reader, agent: Agent, instance: str | None, *, is_new: bool
    ) -> Agent:
        if instance is None or instance == agent.instance_id:
            return agent
        known = agents.instance_epoch(reader, agent.id, instance)
        if known is not None:
            raise Conflict(
                f"{agent.id} was taken over by a newer instance.",
                code="stale_instance",
                extra={"epoch": agent.epoch},
            )
        epoch = 1 if is_new else agent.epoch + 1
        return replace(agent, instance_id=instance, epoch=epoch)

    def patch(
        self,
        agent_id: str,
        given: Mapping[str, Any],
        instance: str | None,
        *,
        may_loosen: bool = True,
    ) -> render.Json:
        """Change what a person or the session says about it. A label set here stays.

        Raises: NotFound, Conflict, Forbidden `loosening_forbidden`.
        """
        with self._core.database.write() as transaction:
            before = lookup.require_agent(transaction, agent_id, instance)
            agent = _described(before, {k: v for k, v in given.items() if k != "label"})
            if "label" in given:
                label = _clean_label(given["label"])
                agent = replace(agent, label=label, label_by_person=label is not None)
            mode = agent.approval_mode
            if not may_loosen and stricter(before.approval_mode, mode) != mode:
                raise Forbidden(
                    f"This token may tighten an approval mode, not loosen it to {mode}.",
                    code="loosening_forbidden",
                )
            agent = _rewound(transaction, before, agent, self._core.clock.now_ms())
            agents.save(transaction, agent)
            answer = self._render(transaction, agent)
            self._tell(transaction, before, agent, answer)
        return answer

    def _tell(
        self, transaction: Transaction, before: Agent | None, agent: Agent, answer: render.Json
    ) -> None:
        core = self._core
        newest = messages.newest_id(transaction)

        def tell() -> None:
            if core.listeners.agent_changed(agent.card):
                core.listeners.offer_backlog(agent.id, newest)
            if before is None:
                core.events.add("agent.registered", agent=answer)
                return
            core.events.add("agent.updated", agent=answer)
            if before.status != agent.status:
                core.events.add("agent.status", agent=answer)
            if _told_to_session(before) != _told_to_session(agent):
                core.listeners.notify(agent.id, "agent", {"agentId": agent.id, "agent": answer})

        transaction.on_commit(tell)

    # -- presence

    def set_status(
        self, agent_id: str, status: str, detail: str | None, instance: str | None
    ) -> render.Json:
        """What it is doing; counts as a heartbeat."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            before = lookup.require_agent(transaction, agent_id, instance)
            agent = self._presence.report(transaction, before, status, detail, now)
        return self._answer(agent)

    def heartbeat(self, agent_id: str, instance: str | None) -> render.Json:
        """It is alive."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            before = lookup.require_agent(transaction, agent_id, instance)
            agent = self._presence.alive(transaction, before, now)
        return self._answer(agent)

    def heartbeats(
        self,
        reports: Sequence[Mapping[str, Any]],
        machine: str | None,
        instance: str | None = None,
    ) -> tuple[list[str], list[str]]:
        """A whole machine's sessions at once: (known, unknown) ids.

        Raises: Conflict `stale_instance` when `instance` is an earlier run of one of them.
        """
        now = self._core.clock.now_ms()
        known: list[str] = []
        unknown: list[str] = []
        with self._core.database.write() as transaction:
            for report in reports:
                agent = agents.get(transaction, report["id"])
                if agent is None:
                    unknown.append(report["id"])
                    continue
                # Others of the machine have other instances: only an earlier one of its own is old.
                if instance and agents.instance_epoch(transaction, agent.id, instance) is not None:
                    lookup.fence(agent, instance)
                known.append(agent.id)
                if report.get("status") is None and "statusDetail" not in report:
                    self._presence.alive(transaction, agent, now)
                else:
                    status = report.get("status") or agent.status
                    detail = report.get("statusDetail", agent.status_detail)
                    self._presence.report(transaction, agent, status, detail, now)
            if machine is not None:
                self._presence.machine_seen(transaction, machine, now)
        return known, unknown

    def remove(self, agent_id: str, instance: str | None) -> None:
        """Forget it; its claims are released, its messages stay."""
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id, instance)
            if agent.built_in:
                raise Conflict(f"{agent_id} is built in.")
            self._presence.remove(transaction, agent)


def _described(agent: Agent, given: Mapping[str, Any]) -> Agent:
    """The agent with the fields that were given; a person's label survives."""
    changes: dict[str, Any] = {}
    for field, ours in _FIELDS.items():
        if field in given:
            value = given[field]
            if ours in ("tags", "capabilities", "channels"):
                value = tuple(dict.fromkeys(value or ()))
            elif ours == "meta":
                value = value or {}
            changes[ours] = value
    if "label" in given and not agent.label_by_person:
        changes["label"] = _clean_label(given["label"])
    for required in ("status", "approval_mode", "reachability", "name"):
        if required in changes and changes[required] is None:
            del changes[required]
    agent = replace(agent, **changes)
    if not agent.name:
        name = default_name(agent.id, agent.project, agent.rig, agent.machine)
        agent = replace(agent, name=name)
    return agent


def _rewound(reader: Reader, before: Agent | None, agent: Agent, now: int) -> Agent:
    """The agent with nothing un-handed before its cursor.

    A new address, or a wider choice of channels, also shows it older messages.
    """
    if before is None:
        return agent
    card = agent.card
    hears_more = before.channels and not (
        agent.channels and set(agent.channels) <= set(before.channels)
    )
    # All that was sent since it came has to be looked through only for a wider choice.
    if not hears_more:
        card = replace(card, addresses=card.addresses - before.card.addresses)
    first = inbox.first_unhanded(reader, card, agent.cursor, now=now)
    return agent if first is None else replace(agent, cursor=first - 1)


def _clean_label(label: str | None) -> str | None:
    return (label or "").strip() or None


def _told_to_session(agent: Agent) -> tuple[Any, ...]:
    return agent.label, agent.tags, agent.capabilities, agent.channels, agent.approval_mode
