"""Claude Code's transport: messaging socket first, doorbell hook else; proof by hook or transcript.

Owns what it knows of the session (`ClaudeSession`) and which ways in have failed; the supervisor
owns deliveries and states, `claude_questions.py` what waits for a person. Runs on the daemon's
event loop. While the session rests and nothing is outstanding it does nothing at all: no timer, no
file watch.

The ladder. (a) The messaging socket, where the session has one. (b) The bell: the session's own
FileChanged hook then asks the supervisor for the text. Neither way acknowledges, so a delivery
without proof, while the session rests, is looked for in the transcript and then reported lost;
from then on the next way is used.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay_agentd.adapters.base import Answer, Delivery, Outcome, Probe, SessionPort, Way
from relay_agentd.adapters.claude_probe import BELL, SOCKET, absent_ways, probe
from relay_agentd.adapters.claude_questions import ClaudeQuestions
from relay_agentd.adapters.claude_session import ClaudeSession, learn
from relay_agentd.adapters.claude_transcript import TranscriptReader, last_sighting
from relay_agentd.adapters.claude_transport import Sent, ring, send_frames
from relay_agentd.adapters.ladder import Ladder
from relay_agentd.adapters.record_changes import changes
from relay_agentd.process import is_stopped
from relay_launchers.claude.envelope import frames
from relay_launchers.claude.evidence import Sighting, sightings
from relay_server.wire import AgentStatus, ApprovalMode, Reachability

PROOF_SECONDS: Final = 10.0
"""How long a session may rest without showing a delivery it was handed."""
RING_SECONDS: Final = 3.0
"""How long a rung bell may stay unanswered by a session at rest."""
TICK_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 1.5
"""How long after SessionStart the bell is not heard: Claude Code sets its file watch up then."""
LAG_SECONDS: Final = 3.0
"""How long a session's registry file may lag behind what its hooks said."""
GRACE_SECONDS: Final = 0.5
"""How long the hooks get before files are watched: mostly they bring the proof first."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A delivery handed over, without proof so far."""

    delivery: Delivery
    since: float


class ClaudeAdapter:
    """The transport into one live Claude Code session."""

    def __init__(self, port: SessionPort, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._port = port
        self._wall_clock = wall_clock
        self._status = AgentStatus.IDLE
        self._status_detail: str | None = None
        # A daemon that takes over does not know for how long the session has been at rest.
        self._status_since = self._now()
        self._status_since_ms = 0.0
        self._ladder = Ladder(SOCKET, BELL)
        self._deaf_until = 0.0
        self._rung_at: float | None = None
        self._under_way: dict[str, _UnderWay] = {}
        self._reader = TranscriptReader()
        self._wanted = asyncio.Event()
        self._session = ClaudeSession.load(port.folder)
        self._live = self._session is not None
        self._questions = ClaudeQuestions(port, lambda: self._session, self._questions_changed)

    # --- the seam ---

    async def run(self) -> None:
        """Follow the session's files while there is something to learn from them."""
        if self._session is not None:
            self._port.reachable(Reachability.PUSH)
            self._reconcile(self._session)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._questions.run())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(GRACE_SECONDS)
            follows_transcript = bool(self._under_way)
            async with aclosing(self._ticks()) as ticks:
                async for _ in ticks:
                    await self._look()
                    if not self._wanted.is_set() or follows_transcript != bool(self._under_way):
                        break

    async def push(self, delivery: Delivery) -> Outcome:
        """Hand one delivery over, by the first way of the ladder that works now."""
        session = self._session
        if session is None or not self._live:
            return Outcome.NOT_NOW
        if not self._under_way:
            # What was written before the effect is no proof of it, and may be megabytes.
            self._reader.skip_to_end(session.transcripts)
        outcome = await self._push_by_socket(session, delivery)
        if outcome is not None:
            return outcome
        return self._push_by_bell()

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Is the delivery in the context (or queued to enter)? None: cannot tell yet."""
        session = self._session
        if session is None:
            return None
        sighting = await asyncio.to_thread(last_sighting, session.transcripts, delivery.text)
        if sighting is Sighting.IN_CONTEXT:
            return True
        if sighting is Sighting.QUEUED and self._status is not AgentStatus.IDLE:
            return True
        # What is written at this moment may not be in the file yet.
        return False if self._rests_for(PROOF_SECONDS / 2) else None

    async def hook(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """A hook of this session reports `event`; answer what the hook prints."""
        if not self._learn(event, payload, environment):
            return {}
        match event:
            case "SessionStart":
                return self._started(payload)
            case "UserPromptSubmit":
                self._set_status(AgentStatus.BUSY)
                self._prove_by(str(payload.get("prompt", "")))
            case "Stop" | "StopFailure":
                self._questions.turn_ended()
                self._set_status(AgentStatus.IDLE)
            case "PreToolUse":
                return self._questions.gate(payload)
            case "PermissionRequest":
                return await self._questions.ask(payload)
            case "HungUp":
                self._questions.hung_up(payload)
            case "Notification" if payload.get("notification_type") == "idle_prompt":
                self._set_status(AgentStatus.IDLE)
            case "SessionEnd":
                self._ended()
            case _:
                pass
        return {}

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """These were handed and lack proof."""
        now, known = self._now(), self._under_way
        self._under_way = {
            each.id: known.get(each.id) or _UnderWay(each, now) for each in deliveries
        }
        if added := self._under_way.keys() - known.keys():
            if self._rung_at is not None:
                # The bell was heard: mail was taken.
                self._ladder.takes(BELL, *added)
            self._rung_at = None
        self._update_wanted()

    def answer(self, ask_id: str, answer: Answer) -> None:
        """A question of this session has been answered."""
        self._questions.answer(ask_id, answer)

    def approval_changed(self, mode: ApprovalMode) -> None:
        """The gate hook reads the mode file; what waits already is ours."""
        self._questions.approval_changed(mode)

    def ways(self) -> Sequence[Way]:
        """The ladder, first way first."""
        return self._ladder.ways(absent_ways(self._session, self._messaging_socket()))

    async def probe(self) -> Sequence[Probe]:
        """Look whether messages could get in, without sending one."""
        return await probe(self._session, self._messaging_socket(), self._port.folder)

    # --- ways in ---

    async def _push_by_socket(self, session: ClaudeSession, delivery: Delivery) -> Outcome | None:
        """None: this way is closed, take the next."""
        path = self._messaging_socket()
        if path is None or self._ladder.has_failed(SOCKET) or session.holds_socket_messages:
            return None
        content = frames(delivery.text, session.token)
        if content is None:
            return None
        # Known before it is written: its proof may overtake the answer to the supervisor.
        self._under_way[delivery.id] = _UnderWay(delivery, self._now())
        self._ladder.takes(SOCKET, delivery.id)
        sent = await send_frames(path, content)
        self._update_wanted()
        if sent is Sent.NOTHING:
            del self._under_way[delivery.id]
            self._ladder.fail(SOCKET, "nobody listens on it")
            return None
        return Outcome.HANDED if sent is Sent.WHOLE else Outcome.UNKNOWN

    def _messaging_socket(self) -> str | None:
        session = self._session
        if session is None or session.socket is not None:
            return session.socket if session else None
        registered = session.registered()
        return registered.messaging_socket if registered else None

    def _push_by_bell(self) -> Outcome:
        if self._now() < self._deaf_until or not ring(self._port.folder):
            return Outcome.NOT_NOW
        self._rung_at = self._now()
        self._update_wanted()
        return Outcome.RINGING

    # --- what the session tells ---

    def _learn(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> bool:
        """Take over what a hook says of the session; False when it speaks for another one."""
        known = self._session
        session = learn(known, event, payload, environment, self._port.folder)
        if session is None or session == known:
            return session is not None
        self._session = session
        if session.transcripts:
            self._port.records(Path(session.transcripts[-1]))
        if event != "SessionStart" and (known is None or known.id != session.id):
            # The daemon was away when this conversation started.
            self._open(session, {})
        return True

    def _started(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """A conversation begins or goes on in this process."""
        session = self._session
        assert session is not None
        source = payload.get("source")
        meta = {name: payload[name] for name in ("source", "model") if name in payload}
        self._open(session, meta)
        if source != "compact":
            self._questions.conversation_ended()
            self._set_status(AgentStatus.IDLE)
            self._ladder.restart()
            self._deaf_until = self._now() + SETTLE_SECONDS
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._port.ready)
        text = self._port.introduction()
        if not text:
            return {}
        return {"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": text}}

    def _open(self, session: ClaudeSession, meta: Mapping[str, Any]) -> None:
        self._live = True
        self._port.opened(session.id, cwd=Path(session.cwd), meta=meta)
        self._port.reachable(Reachability.PUSH)

    def _ended(self) -> None:
        """The conversation ended; /clear and /resume start another one in the same process."""
        self._live = False
        self._rung_at = None
        self._questions.conversation_ended()
        self._set_status(AgentStatus.IDLE)
        self._port.reachable(Reachability.NONE)

    def _set_status(self, status: AgentStatus, detail: str | None = None) -> None:
        if status is not self._status:
            self._status_since = self._now()
        self._status, self._status_detail = status, detail
        self._status_since_ms = self._wall_clock() * 1000
        self._tell_status()
        self._update_wanted()

    def _tell_status(self) -> None:
        """A question, also one of a sub-agent in the background, waits whatever the turn does."""
        tool = self._questions.waiting_for
        if tool is not None:
            self._port.status(AgentStatus.WAITING, tool)
        else:
            self._port.status(self._status, self._status_detail)

    def _questions_changed(self) -> None:
        if self._questions.waiting_for is None and self._status is AgentStatus.WAITING:
            # Answered: the turn goes on, or the registry soon says otherwise.
            self._set_status(AgentStatus.BUSY)
        else:
            self._tell_status()

    # --- what the files tell ---

    async def _ticks(self) -> AsyncGenerator[None]:
        yield
        session = self._session
        folders = {Path(path).parent for path in session.transcripts} if session else set()
        watched = sorted(folders) if self._under_way else []
        async with aclosing(changes(watched, tick=TICK_SECONDS)) as ticks:
            async for _ in ticks:
                yield

    async def _look(self) -> None:
        """Read what is new and draw the conclusions."""
        session = self._session
        if session is not None:
            if session.pid is not None and is_stopped(session.pid):
                # What was handed to it waits inside: it neither rests nor has lost anything.
                self._status_since = self._now()
            if self._under_way:
                added = await asyncio.to_thread(self._reader.read_new, session.transcripts)
                self._prove_by_transcript(added)
            self._reconcile(session)
        self._ring_again()
        await self._give_up_what_does_not_come()
        self._update_wanted()

    def _reconcile(self, session: ClaudeSession) -> None:
        """Follow the session's own registry where hooks are silent (Esc, an answered dialog)."""
        registered = session.registered()
        if registered is None or registered.status is None:
            return
        lags = registered.status_at_ms < self._status_since_ms
        age = self._wall_clock() - self._status_since_ms / 1000
        if registered.status == self._status or (lags and age < LAG_SECONDS):
            return
        self._set_status(AgentStatus(registered.status), registered.waiting_for)

    def _prove_by(self, prompt: str) -> None:
        for each in list(self._under_way.values()):
            if each.delivery.text.strip() in prompt:
                self._proved(each.delivery, "prompt hook")

    def _prove_by_transcript(self, added: bytes) -> None:
        if not added:
            return
        for each in list(self._under_way.values()):
            if Sighting.IN_CONTEXT in sightings(added, each.delivery.text):
                self._proved(each.delivery, "transcript")

    def _proved(self, delivery: Delivery, via: str) -> None:
        self._under_way.pop(delivery.id, None)
        self._ladder.proved(delivery.id)
        self._port.proved(delivery.id, via=via)
        self._update_wanted()

    def _ring_again(self) -> None:
        """A bell that a session at rest did not answer is worth another try."""
        rung = self._rung_at
        if rung is None or self._now() - rung < RING_SECONDS or not self._rests_for(RING_SECONDS):
            return
        self._rung_at = None
        self._port.ready()

    async def _give_up_what_does_not_come(self) -> None:
        """What a session at rest does not show for so long goes back to the supervisor."""
        if not self._rests_for(PROOF_SECONDS):
            return
        for each in list(self._under_way.values()):
            if self._now() - each.since < PROOF_SECONDS:
                continue
            found = await self.find_evidence(each.delivery)
            # A hook may have brought the proof meanwhile.
            if found is None or each.delivery.id not in self._under_way:
                continue
            if found:
                self._proved(each.delivery, "transcript")
            else:
                self._lost(each)

    def _lost(self, lost: _UnderWay) -> None:
        del self._under_way[lost.delivery.id]
        log.warning("session %s: delivery %s did not arrive", self._port.key, lost.delivery.id)
        self._ladder.lost(lost.delivery.id)
        self._port.lost(lost.delivery.id)

    # --- time ---

    def _rests_for(self, seconds: float) -> bool:
        return self._status is AgentStatus.IDLE and self._now() - self._status_since >= seconds

    def _update_wanted(self) -> None:
        wanted = (
            self._status is not AgentStatus.IDLE
            or bool(self._under_way)
            or self._rung_at is not None
        )
        if wanted and self._session is not None:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
