"""What the contract says a relay does, as plain objects: no database, no threads, no HTTP.

`Model` decides what each call must answer. It shares no code with the server.
"""

from dataclasses import dataclass, field

STALE_MS = 600_000
PRUNE_MS = 3_600_000
LOOP_LIMIT = 4
SENDER_LIMIT = 12
RANK = {
    "stored": 0,
    "failed": 1,
    "routed": 1,
    "handed": 2,
    "in_context": 3,
    "read": 4,
    "replied": 5,
}
ENDED = ("done", "failed", "canceled")
# Where an update leads; open and claimed are reached by release and claim only.
UPDATES = {
    "open": ENDED,
    "claimed": ("in_progress", *ENDED),
    "in_progress": ("in_progress", "blocked", *ENDED),
    "blocked": ("in_progress", "blocked", *ENDED),
}
BUILT_IN = ("operator", "system")

Expected = tuple[int, str | None]
OK: Expected = (200, None)


@dataclass
class Agent:
    id: str
    inbox_start: int
    tags: set[str] = field(default_factory=set)
    capabilities: set[str] = field(default_factory=set)
    channels: set[str] = field(default_factory=set)
    label: str | None = None
    is_offline: bool = False
    offline_since: int = 0
    last_seen: int = 0
    instances: list[str] = field(default_factory=list)
    has_label_of_person: bool = False

    @property
    def addresses(self) -> set[str]:
        found = (
            {self.id} | {f"tag:{t}" for t in self.tags} | {f"cap:{c}" for c in self.capabilities}
        )
        if self.id not in BUILT_IN:
            found.add("broadcast")
        if self.label:
            found.add(f"label:{self.label.lower()}")
        return found


@dataclass
class Claim:
    """Of a message, a task, or both: they share the object."""

    owner: str | None = None
    expires_at: int = 0
    is_completed: bool = False
    ended_by: str | None = None

    def holder(self, now: int) -> str | None:
        return self.owner if self.is_completed or self.expires_at > now else None


@dataclass
class Message:
    id: int
    sender: str
    target: str
    channel: str | None
    claimable: bool
    thread: int
    created_at: int
    expires_at: int | None
    held: bool
    claim: Claim = field(default_factory=Claim)
    was_let_through: bool = False
    task: int | None = None

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_open(self, now: int) -> bool:
        return self.claimable and not self.claim.is_completed and self.claim.holder(now) is None


@dataclass
class Task:
    id: int
    source: str
    by_integration: bool
    key: str | None
    message: int
    claim: Claim
    occurrences: int = 1
    written: str = "open"

    def status(self, now: int) -> str:
        """A lease whose time is over holds nothing."""
        if self.written in ENDED or self.claim.holder(now) is not None:
            return self.written
        return "open"


class Model:
    """All there is."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.agents: dict[str, Agent] = {name: Agent(name, 0) for name in BUILT_IN}
        self.messages: dict[int, Message] = {}
        self.tasks: dict[int, Task] = {}
        self.states: dict[tuple[str, int], str] = {}
        self.newest = 0
        self.sent: dict[str, list[int]] = {}

    # -- who gets what

    def matches(self, agent: Agent, message: Message) -> bool:
        hears = message.channel is None or not agent.channels or message.channel in agent.channels
        return message.target in agent.addresses and message.sender != agent.id and hears

    def receives(self, agent: Agent, message: Message) -> bool:
        is_work = message.claimable and not message.claim.is_completed
        return self.matches(agent, message) and (message.id > agent.inbox_start or is_work)

    def is_shown(self, agent: Agent, message: Message) -> bool:
        if message.held or message.is_expired(self.now) or not self.matches(agent, message):
            return False
        return message.id > agent.inbox_start or message.is_open(self.now)

    def is_taken(self, agent_id: str, message_id: int) -> bool:
        return RANK[self.states.get((agent_id, message_id), "stored")] >= RANK["handed"]

    def unhanded(self, agent_id: str) -> list[int]:
        agent = self.agents[agent_id]
        return [
            m.id
            for m in self.messages.values()
            if self.is_shown(agent, m) and not self.is_taken(agent_id, m.id)
        ]

    def shown_since(self, agent_id: str, since: int) -> list[int]:
        agent = self.agents[agent_id]
        return [m.id for m in self.messages.values() if m.id > since and self.is_shown(agent, m)]

    # -- agents

    def is_zombie(self, agent_id: str, instance: str | None) -> bool:
        agent = self.agents.get(agent_id)
        if agent is None or instance is None or not agent.instances:
            return False
        return instance != agent.instances[-1]

    def sees(self, agent_id: str) -> None:
        agent = self.agents[agent_id]
        agent.last_seen, agent.is_offline = self.now, False

    def goes_offline(self, agent: Agent) -> None:
        if not agent.is_offline:
            agent.is_offline, agent.offline_since = True, self.now
        self.releases_all(agent.id)

    def releases_all(self, agent_id: str) -> None:
        for claim in self.claims():
            if claim.owner == agent_id and not claim.is_completed:
                claim.owner, claim.expires_at = None, 0
        self.settle()

    def claims(self) -> list[Claim]:
        return [m.claim for m in self.messages.values()] + [t.claim for t in self.tasks.values()]

    def sweep(self) -> None:
        for agent in list(self.agents.values()):
            is_silent = agent.last_seen < self.now - STALE_MS
            if agent.id not in BUILT_IN and not agent.is_offline and is_silent:
                self.goes_offline(agent)
        self.settle()
        for agent in list(self.agents.values()):
            if agent.is_offline and agent.offline_since < self.now - PRUNE_MS:
                self.releases_all(agent.id)
                del self.agents[agent.id]

    def settle(self) -> None:
        """What nobody holds any more is open."""
        for claim in self.claims():
            if claim.owner is not None and claim.holder(self.now) is None:
                claim.owner = None
        for task in self.tasks.values():
            if task.written not in ENDED and task.claim.owner is None:
                task.written = "open"

    # -- messages

    def may_send(self, sender: str) -> Expected:
        if sender in BUILT_IN:
            return OK
        if sender not in self.agents:
            return (404, "agent_not_found")
        recent = [at for at in self.sent.get(sender, ()) if at > self.now - 60_000]
        return OK if len(recent) < SENDER_LIMIT else (429, "rate_limited")

    def counts(self, sender: str) -> None:
        if sender not in BUILT_IN:
            self.sent.setdefault(sender, []).append(self.now)

    def is_looping(self, sender: str, thread: int) -> bool:
        if sender in BUILT_IN:
            return False
        newest = sorted(m.id for m in self.messages.values() if m.thread == thread)[-LOOP_LIMIT:]
        found = [self.messages[m] for m in newest]
        return len(found) == LOOP_LIMIT and all(
            m.sender != "operator" and m.created_at > self.now - 600_000 for m in found
        )

    def adds(
        self,
        message_id: int,
        sender: str,
        target: str,
        *,
        channel: str | None = None,
        claimable: bool = False,
        reply_to: int | None = None,
        lifetime_ms: int | None = None,
    ) -> Message:
        original = self.messages.get(reply_to or 0)
        thread = original.thread if original else message_id
        message = Message(
            id=message_id,
            sender=sender,
            target=target,
            channel=channel,
            claimable=claimable,
            thread=thread,
            created_at=self.now,
            expires_at=None if lifetime_ms is None else self.now + lifetime_ms,
            held=original is not None and self.is_looping(sender, thread),
        )
        self.messages[message_id] = message
        self.newest = message_id
        agent = self.agents.get(sender)
        if original is not None and agent is not None:
            has_row = (sender, original.id) in self.states
            if has_row or self.matches(agent, original):
                self.advance(sender, original.id, "replied")
        return message

    def advance(self, agent_id: str, message_id: int, state: str) -> None:
        before = self.states.get((agent_id, message_id), "stored")
        if state == "failed":
            if RANK[before] < RANK["handed"]:
                self.states[agent_id, message_id] = "failed"
        elif RANK[state] > RANK[before]:
            self.states[agent_id, message_id] = state
        else:
            self.states.setdefault((agent_id, message_id), before)

    def knows(self, agent_id: str, message_id: int) -> bool:
        """Whether the agent may report on it: it was shown it, or is a receiver."""
        message = self.messages.get(message_id)
        if message is None:
            return False
        is_receiver = not message.held and self.receives(self.agents[agent_id], message)
        return (agent_id, message_id) in self.states or is_receiver

    # -- work

    def claims_message(self, agent_id: str, message_id: int, lease_ms: int) -> Expected:
        message = self.messages.get(message_id)
        if agent_id not in self.agents:
            return (404, "agent_not_found")
        if message is None:
            return (404, "message_not_found")
        if not message.claimable or message.held:
            return (409, "not_claimable")
        if message.is_expired(self.now) and message.is_open(self.now):
            return (409, "not_claimable")
        return self._claims(agent_id, message.claim, lease_ms, self.tasks.get(message.task or 0))

    def claims_task(self, agent_id: str, task_id: int, lease_ms: int) -> Expected:
        if agent_id not in self.agents:
            return (404, "agent_not_found")
        task = self.tasks[task_id]
        if task.written in ENDED:
            return (409, "invalid_transition")
        return self._claims(agent_id, task.claim, lease_ms, task)

    def _claims(self, agent_id: str, claim: Claim, lease_ms: int, task: Task | None) -> Expected:
        holder = claim.holder(self.now)
        if claim.is_completed or holder not in (None, agent_id):
            return (409, "already_claimed")
        claim.owner, claim.expires_at = agent_id, self.now + lease_ms
        if task is not None and holder is None:
            task.written = "claimed"
        self.sees(agent_id)
        return OK

    def holds(self, agent_id: str, claim: Claim) -> bool:
        return claim.holder(self.now) == agent_id

    def frees(self, claim: Claim) -> None:
        claim.owner, claim.expires_at = None, 0
        self.settle()

    def ends(self, claim: Claim, by: str, status: str = "done") -> None:
        """For good, by whomever; of a message that nobody held, the claim names him."""
        self.settle()
        claim.is_completed = True
        claim.ended_by = claim.owner or by
        for task in self.tasks.values():
            if task.claim is claim:
                task.written = status

    def active(self, source: str, key: str | None, *, by_integration: bool) -> Task | None:
        found = [
            t
            for t in self.tasks.values()
            if key is not None
            and (t.source, t.key, t.by_integration) == (source, key, by_integration)
            and t.written not in ENDED
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def deletes(self, message_id: int) -> None:
        del self.messages[message_id]
        for pair in [pair for pair in self.states if pair[1] == message_id]:
            del self.states[pair]
