"""The seam between the supervisor and a provider's live session.

The supervisor owns every state (session row, inbox rows, receipts). An adapter owns only its
connection: it reports what it sees through `SessionPort` and carries out `push`. Everything here
runs on the daemon's one event loop, so no locks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from relay_server.wire import AgentStatus, ApprovalMode, Decision, Priority, Reachability


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One or more messages on their way into one session's context as one block of text."""

    id: str
    """Ours, unique for ever; the receipt of Codex carries it back. ``d-`` and 16 hex digits, or
    ``p-`` and the session's key for what the user himself gave a background session to begin
    with. An id that was not proved may be offered again."""
    message_ids: tuple[int, ...]
    """None: the user's own first prompt, which has no frame around it."""
    text: str
    """The exact text; its presence in the session's context is the proof."""
    priority: Priority


class Outcome(StrEnum):
    """What became of a push."""

    HANDED = "handed"
    """The provider took it; proof follows through `SessionPort.proved`."""
    RINGING = "ringing"
    """A doorbell was rung; the session's hook will ask `take_mail` for the text."""
    NOT_NOW = "not_now"
    """Nothing was handed over (not connected, busy with no queue): offer it again on
    `SessionPort.ready`."""
    UNKNOWN = "unknown"
    """The connection broke in between: it may or may not have arrived. The supervisor asks
    `find_evidence` before it offers the delivery again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A step with side effects that waits for a person."""

    id: str
    """The provider's own name of the question, stable over reconnects: asking again under the
    same id is the same question."""
    tool: str
    """As the provider calls it: `Bash`, `apply_patch`."""
    summary: str
    """One line for people: the command, the files."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """All of it, as the tool gets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person decided, or what follows from nobody doing so."""

    decision: Decision
    reason: str | None = None
    """For the model, on a denial."""
    for_session: bool = False
    """The same step need not be asked about again in this session."""


class WayState(StrEnum):
    """What is known of one way into a session."""

    UNTRIED = "untried"
    """It is there; nothing went through it yet."""
    PROVED = "proved"
    FAILED = "failed"
    """Tried, and no proof came: the next one is used."""
    ABSENT = "absent"
    """This provider, version or session does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One rung of a session's delivery ladder, for `doctor --session`."""

    name: str
    state: WayState
    detail: str | None = None
    proved_at: float | None = None
    """Unix time of the latest proof that came this way."""


class SessionPort(Protocol):
    """What the supervisor offers an adapter. All calls return at once and never raise."""

    key: str
    folder: Path
    cwd: Path

    @property
    def approval(self) -> ApprovalMode:
        """The approval mode in force."""

    def asked(self, ask: Ask) -> None:
        """A step waits for a person: it is shown at the relay too, and whoever is first answers.
        The relay's answer comes by `Adapter.answer`, unless `settled` is called before."""

    def settled(self, ask_id: str) -> None:
        """Nobody needs that answer any more: the terminal gave it, or the step is over."""

    def troubled(self, problem: str | None) -> None:
        """Why the session cannot work at present, for people; None: it can."""

    def records(self, transcript: Path) -> None:
        """Where the provider records the conversation, for `logs` and `attach`."""

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        """The conversation is known (first time, or another one after /clear, /new)."""

    def introduction(self) -> str:
        """What the session is told once at its start (`relay_launchers.frame.introduction`);
        empty until `opened` was called."""

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        """Busy, idle or waiting, from the provider's own signal."""

    def reachable(self, reachability: Reachability) -> None:
        """How messages get in at present."""

    def proved(self, delivery_id: str, *, via: str) -> None:
        """The delivery was seen in the session's own turn or transcript."""

    def lost(self, delivery_id: str) -> None:
        """Handed over or taken at the doorbell, but it did not arrive and will not any more
        (the adapter looked for evidence): offer it again, the adapter now knows a better way."""

    def ready(self) -> None:
        """Pushing is worth another try."""


class Adapter(Protocol):
    """A provider's transport into one live session."""

    async def run(self) -> None:
        """Connect, follow and reconnect until cancelled. Must survive its peer's restarts."""

    async def push(self, delivery: Delivery) -> Outcome:
        """Hand one delivery over, by the first way of the ladder that works now."""

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Is the delivery in the context (or queued to enter)? None: cannot tell yet."""

    async def hook(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """A hook of this session reports `event`; answer what the hook prints (may be empty).

        `environment` holds what the hook passes on of its own environment. A hook that ends before
        it has its answer is followed by the event `HungUp` with the same payload, which must let
        that answer come.
        """

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """These were handed and lack proof (given at start, and after each change)."""

    def answer(self, ask_id: str, answer: Answer) -> None:
        """A question of this session has been answered; harmless when it is over already."""

    def approval_changed(self, mode: ApprovalMode) -> None:
        """The mode in force changed while the session runs."""

    def ways(self) -> Sequence[Way]:
        """The ladder, first way first."""


class AdapterDefaults:
    """An adapter of a provider without hooks, questions or more than one way in: inherit from it
    and add `run`, `push` and `find_evidence`."""

    async def hook(
        self,
        event: str,  # noqa: ARG002 - the protocol's signature
        payload: Mapping[str, Any],  # noqa: ARG002
        environment: Mapping[str, str],  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """There are no hooks of ours."""
        return {}

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """Proof comes without being looked for."""

    def answer(self, ask_id: str, answer: Answer) -> None:
        """It asks nothing."""

    def approval_changed(self, mode: ApprovalMode) -> None:
        """It has no mode to change."""

    def ways(self) -> Sequence[Way]:
        """There is no ladder."""
        return ()
