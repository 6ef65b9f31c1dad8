"""The transport into a Codex session that a person started himself (`install codex`).

In by `codex queue`, which works whether Codex's shared server or the terminal itself runs the
conversation: each message becomes a turn of its own, after the running one. What happens is read
from Codex's own record of the conversation: turns begin and end there, and a delivery's text in a
user message is its proof. Owns nothing of Codex's, starts and stops none of its servers. Runs on
the daemon's event loop.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from relay_agentd.adapters.base import (
    AdapterDefaults,
    Delivery,
    Outcome,
    SessionPort,
    Way,
    WayState,
)
from relay_agentd.adapters.record_changes import changes
from relay_agentd.clock import now
from relay_agentd.spawn import run_quietly
from relay_launchers.codex.rollout import TurnSign, read_signs, user_texts
from relay_launchers.in_session import CONVERSATION_FILE, PROGRAM
from relay_server.wire import AgentStatus, Reachability

TICK_SECONDS: Final = 5.0
QUEUE_SECONDS: Final = 20.0
# A queue whose outcome nobody knows may take as long to show.
_DOUBT_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a hook said of the conversation; kept for the next daemon and for the gate hook."""

    id: str
    cwd: str
    transcript: str
    program: str
    """Codex's own; empty where messages cannot get in (`codex exec`)."""
    environment: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Raises: OSError."""
        draft = folder / f"{CONVERSATION_FILE}.new"
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.replace(folder / CONVERSATION_FILE)

    @classmethod
    def load(cls, folder: Path) -> "Conversation | None":
        """What an earlier daemon wrote down; None when there is nothing usable."""
        try:
            return cls(**json.loads((folder / CONVERSATION_FILE).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


class PlainCodexAdapter(AdapterDefaults):
    """See the module."""

    def __init__(self, port: SessionPort) -> None:
        self._port = port
        self._conversation = Conversation.load(port.folder)
        self._changed = asyncio.Event()
        self._offset = 0
        self._under_way: dict[str, Delivery] = {}
        self._queued: set[str] = set()
        self._doubtful: dict[str, float] = {}
        self._way = Way(name="queue", state=WayState.UNTRIED)

    # --- the seam ---

    async def run(self) -> None:
        """Follow the record of whatever conversation is on the terminal."""
        while True:
            self._changed.clear()
            conversation = self._conversation
            if conversation is None:
                await self._changed.wait()
                continue
            self._offset = 0
            self._port.reachable(Reachability.PUSH if conversation.program else Reachability.NONE)
            async with aclosing(_changes(Path(conversation.transcript))) as ticks:
                async for _ in ticks:
                    if self._conversation is not conversation:
                        break
                    self._take(await asyncio.to_thread(self._read_new, conversation))

    async def push(self, delivery: Delivery) -> Outcome:
        """Queue it behind the running turn."""
        conversation = self._conversation
        if conversation is None or not conversation.program:
            return Outcome.NOT_NOW
        argv = (
            conversation.program,
            "queue",
            "--thread",
            conversation.id,
            "--message",
            delivery.text,
        )
        # Before the effect: its proof may be quicker than the command.
        self._under_way[delivery.id] = delivery
        status, said = await asyncio.to_thread(
            run_quietly, argv, conversation.environment, self._port.folder, seconds=QUEUE_SECONDS
        )
        if status == 0:
            self._queued.add(delivery.id)
            return Outcome.HANDED
        log.warning("session %s: codex queue: %s %.200s", self._port.key, status, said.strip())
        if status == 124:
            self._doubtful[delivery.id] = now()
            return Outcome.UNKNOWN
        self._way = Way(name="queue", state=WayState.FAILED, detail=said.strip()[-200:] or None)
        return Outcome.NOT_NOW

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """In the record, or in Codex's queue, which keeps it until its turn comes."""
        conversation = self._conversation
        if conversation is None:
            return None
        if await asyncio.to_thread(_holds, conversation, delivery.text):
            return True
        if delivery.id in self._queued:
            return True
        since = self._doubtful.setdefault(delivery.id, now())
        return False if now() - since >= _DOUBT_SECONDS else None

    async def hook(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """SessionStart: the first turn of a conversation, or of another one after /new."""
        if event != "SessionStart":
            return {}
        told = Conversation(
            id=str(payload["session_id"]),
            cwd=str(payload.get("cwd") or self._port.cwd),
            transcript=str(payload.get("transcript_path") or ""),
            program=environment.get(PROGRAM, ""),
            environment={name: text for name, text in environment.items() if name != PROGRAM},
        )
        if told != self._conversation:
            self._conversation = told
            told.save(self._port.folder)
            self._under_way.clear()
            self._queued.clear()
            self._changed.set()
        self._port.opened(told.id, cwd=Path(told.cwd), meta={"source": payload.get("source")})
        self._port.records(Path(told.transcript))
        # Codex runs this hook in the first turn.
        self._port.status(AgentStatus.BUSY)
        text = self._port.introduction()
        if not text or payload.get("source") == "compact":
            return {}
        return {"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": text}}

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """These were handed over and lack proof."""
        self._under_way = {each.id: each for each in deliveries}

    def ways(self) -> Sequence[Way]:
        """There is one, where there is one."""
        conversation = self._conversation
        if conversation is not None and not conversation.program:
            return (Way(name="queue", state=WayState.ABSENT),)
        return (self._way,)

    # --- the record ---

    def _read_new(self, conversation: Conversation) -> list[str]:
        """The whole lines since the last time."""
        try:
            with Path(conversation.transcript).open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except OSError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()

    def _take(self, lines: list[str]) -> None:
        status: AgentStatus | None = None
        for sign in read_signs(lines):
            status = AgentStatus.BUSY if sign is TurnSign.STARTED else AgentStatus.IDLE
        for text in user_texts(lines) if self._under_way else ():
            self._prove_by(text)
        if status is not None:
            self._port.status(status)
            if status is AgentStatus.IDLE:
                self._port.ready()

    def _prove_by(self, text: str) -> None:
        for delivery in list(self._under_way.values()):
            if delivery.text.strip() in text:
                del self._under_way[delivery.id]
                self._queued.discard(delivery.id)
                self._way = Way(name="queue", state=WayState.PROVED, proved_at=now())
                self._port.proved(delivery.id, via="transcript")


def _holds(conversation: Conversation, text: str) -> bool:
    try:
        lines = Path(conversation.transcript).read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(text.strip() in each for each in user_texts(lines))


async def _changes(record: Path) -> AsyncGenerator[None]:
    """Now, whenever something changes beside the record, and at every tick."""
    yield
    while not record.parent.is_dir():
        await asyncio.sleep(1)
        yield
    async for _ in changes([record.parent], tick=TICK_SECONDS):
        yield
