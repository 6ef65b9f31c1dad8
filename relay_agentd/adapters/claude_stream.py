"""Claude Code without a terminal: mail and answers by stream-json, through the session's host.

The host (`stream_bridge`) keeps what is true of the session and greets each daemon with it; so this
adapter remembers nothing a restart could lose, but what a person allowed for the whole session,
which is then asked again. Runs on the daemon's loop.

A delivery is one user message, its uuid made of the delivery's id. The host takes a uuid once and
says so (*taken*), and says when Claude Code has shown it in the conversation (*shown*: the proof).
What was taken and never shown died with Claude Code; the transcript tells which.

Questions come as `can_use_tool` requests, one for each step that the gate hook asks about or that
the user's own settings would: nobody sits at a terminal, so the relay is where they are answered.
The hooks `PreToolUse` and `PermissionRequest` only report here; a question is asked once.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relay_agentd.adapters.base import (
    Answer,
    Ask,
    Delivery,
    Outcome,
    Probe,
    SessionPort,
    Way,
    WayState,
)
from relay_agentd.adapters.claude_session import ClaudeSession, learn
from relay_agentd.adapters.claude_stream_link import Message, StreamLink
from relay_launchers.claude import stream
from relay_launchers.claude.background import permission_mode
from relay_launchers.claude.summary import summarize
from relay_server.wire import AgentStatus, ApprovalMode, Decision, Reachability

TAKEN_SECONDS: Final = 10.0
"""How long a host may take to take a message; it does so at once, unless it is stopped."""
HOOK_SECONDS: Final = 8.0
"""How long the session's own SessionStart hook is waited for."""
_VIA: Final = "stream-json replay"

log = logging.getLogger(__name__)


class ClaudeStreamAdapter:
    """The transport into one background Claude Code session."""

    def __init__(self, port: SessionPort, socket: Path) -> None:
        self._port = port
        self._link = StreamLink(socket, on_message=self._heard, on_end=self._hung_up)
        self._session = ClaudeSession.load(port.folder)
        self._owes_introduction = False
        # As the host says it, nothing of it while there is no connection.
        self._greeting: Message | None = None
        self._turn_runs = False
        self._problem: str | None = None
        self._questions: dict[str, Message] = {}
        # Given while the host was out of reach.
        self._answers: dict[str, Answer] = {}
        self._allowed: set[str] = set()
        self._mode_wanted: str | None = None
        self._taken: set[str] = set()
        self._shown: set[str] = set()
        self._taking: dict[str, asyncio.Future[bool]] = {}
        self._under_way: dict[str, Delivery] = {}
        self._told_status: tuple[AgentStatus, str | None] | None = None
        self._proved_at: float | None = None
        self._changes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the seam ---

    async def run(self) -> None:
        """Keep the connection to the host."""
        try:
            await self._link.run()
        finally:
            for task in self._tasks:
                task.cancel()

    async def push(self, delivery: Delivery) -> Outcome:
        """Hand it to the host."""
        if self._greeting is None:
            return Outcome.NOT_NOW
        identifier = stream.delivery_uuid(delivery.id)
        text, is_mail = delivery.text, bool(delivery.message_ids)
        if self._owes_introduction:
            text, is_mail = f"{self._port.introduction()}\n\n{text}", True
        taken = self._taking[identifier] = asyncio.get_running_loop().create_future()
        self._under_way[identifier] = delivery
        self._link.send(stream.user_line(identifier, text, is_mail=is_mail))
        try:
            async with asyncio.timeout(TAKEN_SECONDS):
                was_taken = await taken
        except TimeoutError:
            was_taken = False
        finally:
            del self._taking[identifier]
            if not taken.done() or taken.cancelled():
                # The next greeting tells whether it arrived; after that nothing of this
                # connection does any more.
                self._link.drop()
        return Outcome.HANDED if was_taken else Outcome.UNKNOWN

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Is the delivery in the context (or queued to enter)? None: cannot tell yet."""
        identifier = stream.delivery_uuid(delivery.id)
        if identifier in self._shown or (self._greeting is not None and identifier in self._taken):
            return True
        if self._session is None or not self._session.transcripts:
            return None
        if await asyncio.to_thread(self._is_recorded, identifier):
            return True
        # The greeting came after the push: what was not taken until then never is.
        return None if self._greeting is None else identifier in self._taken

    async def hook(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """A hook of this session reports `event`; answer what the hook prints."""
        if not self._learn(event, payload, environment) or event != "SessionStart":
            return {}
        meta = {name: payload[name] for name in ("source", "model") if name in payload}
        self._open(meta)
        text = self._port.introduction()
        if not text or (payload.get("source") == "resume" and await self._knows(text)):
            return {}
        return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """These were handed and lack proof."""
        handed = {stream.delivery_uuid(each.id): each for each in deliveries}
        pushed = {name: each for name, each in self._under_way.items() if name in self._taking}
        self._under_way = pushed | handed
        for identifier in self._shown & self._under_way.keys():
            self._prove(identifier)

    def answer(self, ask_id: str, answer: Answer) -> None:
        """A question of this session has been answered."""
        request = self._questions.pop(ask_id, None)
        if request is None:
            if self._greeting is None:
                self._answers[ask_id] = answer
            return
        if answer.decision is Decision.ALLOW:
            if answer.for_session:
                self._allowed.add(_step(request))
            line = stream.allow_line(request)
        else:
            line = stream.deny_line(request, answer.reason or "a person said no")
        if not self._link.send(line):
            self._answers[ask_id] = answer
        self._tell_status()

    def approval_changed(self, mode: ApprovalMode) -> None:
        """The gate hook reads the mode file; Claude Code's own mode is the second line."""
        if mode is not ApprovalMode.OPEN:
            # What was allowed in a milder mode is asked about again.
            self._allowed.clear()
        self._mode_wanted = permission_mode(mode.value)
        self._set_mode()

    def ways(self) -> Sequence[Way]:
        """There is one."""
        state = WayState.PROVED if self._proved_at is not None else WayState.UNTRIED
        detail = None if self._greeting is not None else "its host cannot be reached"
        return (Way(name="stream-json", state=state, detail=detail, proved_at=self._proved_at),)

    async def probe(self) -> Sequence[Probe]:
        """Does the host answer?"""
        is_there = self._greeting is not None
        detail = "connected" if is_there else "it cannot be reached"
        return [Probe(name="host", ok=is_there, detail=detail)]

    # --- what the host says ---

    def _heard(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "bridge_hello":
            self._greeted(message)
        elif self._greeting is None:
            return
        elif kind == "bridge_taken":
            self._took(str(message.get("uuid")))
        elif kind == "bridge_shown":
            self._showed(str(message.get("uuid")))
        elif kind == "bridge_turn":
            self._turn_runs = message.get("turn") == "busy"
            problem = message.get("problem")
            self._problem = problem if isinstance(problem, str) else None
            if not self._turn_runs:
                self._port.troubled(self._problem)
            self._tell_status()
        elif kind == "control_request":
            self._asked(message)
        elif kind == "control_cancel_request":
            self._withdrawn(str(message.get("request_id")))

    def _greeted(self, greeting: Message) -> None:
        self._greeting = greeting
        self._turn_runs = greeting.get("turn") == "busy"
        self._taken = _names(greeting, "taken")
        self._shown = _names(greeting, "shown")
        for ask_id in self._questions.keys() - _names(greeting, "questions"):
            self._withdrawn(ask_id)
        for identifier in self._shown & self._under_way.keys():
            self._prove(identifier)
        self._set_mode()
        self._start(self._look_for_lost())
        if self._session is None:
            self._start(self._open_without_hook())
        else:
            self._port.reachable(Reachability.PUSH)
        self._tell_status()
        self._port.ready()

    def _hung_up(self) -> None:
        self._greeting = None
        for taken in self._taking.values():
            if not taken.done():
                taken.set_result(False)
        self._port.reachable(Reachability.NONE)

    def _took(self, identifier: str) -> None:
        self._taken.add(identifier)
        taken = self._taking.get(identifier)
        if taken is not None and not taken.done():
            taken.set_result(True)

    def _showed(self, identifier: str) -> None:
        self._shown.add(identifier)
        self._owes_introduction = False
        self._prove(identifier)

    def _prove(self, identifier: str) -> None:
        delivery = self._under_way.pop(identifier, None)
        if delivery is not None:
            self._proved_at = time.time()
            self._port.proved(delivery.id, via=_VIA)

    async def _look_for_lost(self) -> None:
        """What Claude Code took and never showed died with it, if another one greets now."""
        for identifier, delivery in list(self._under_way.items()):
            if identifier in self._taking:
                continue
            found = await self.find_evidence(delivery)
            if identifier not in self._under_way:
                continue
            if found is False:
                del self._under_way[identifier]
                self._port.lost(delivery.id)
            elif found and identifier not in self._taken:
                del self._under_way[identifier]
                self._port.proved(delivery.id, via="transcript")

    # --- questions ---

    def _asked(self, request: Message) -> None:
        ask_id, asked = str(request.get("request_id")), request.get("request")
        if not isinstance(asked, dict) or asked.get("subtype") != "can_use_tool":
            self._link.send(stream.refuse_line(request))
            return
        self._questions[ask_id] = request
        early = self._answers.pop(ask_id, None)
        if early is not None:
            self.answer(ask_id, early)
            return
        if _step(request) in self._allowed:
            self.answer(ask_id, Answer(decision=Decision.ALLOW))
            return
        tool, tool_input = str(asked.get("tool_name")), asked.get("input")
        given = tool_input if isinstance(tool_input, dict) else {}
        self._tell_status()
        self._port.asked(Ask(id=ask_id, tool=tool, summary=summarize(tool, given), input=given))

    def _withdrawn(self, ask_id: str) -> None:
        """The step is over without an answer: interrupted, or its turn broke off."""
        self._answers.pop(ask_id, None)
        if self._questions.pop(ask_id, None) is not None:
            self._port.settled(ask_id)
            self._tell_status()

    def _set_mode(self) -> None:
        if self._mode_wanted is None:
            return
        self._changes += 1
        if self._link.send(stream.mode_line(f"mode-{self._changes}", self._mode_wanted)):
            self._mode_wanted = None

    # --- the conversation ---

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
            self._open({})
        return True

    def _open(self, meta: Mapping[str, Any]) -> None:
        assert self._session is not None
        self._port.opened(self._session.id, cwd=Path(self._session.cwd), meta=meta)
        if self._greeting is not None:
            self._port.reachable(Reachability.PUSH)
            self._start(self._look_for_lost())
        self._tell_status()
        self._port.ready()

    async def _open_without_hook(self) -> None:
        """The daemon was away when the session started: it says nothing by itself before its first
        message, and that one has to bring what the hook would have told."""
        await asyncio.sleep(HOOK_SECONDS)
        greeting = self._greeting
        if self._session is not None or greeting is None or not greeting.get("conversation"):
            return
        log.info("session %s did not introduce itself", self._port.key)
        pid = greeting.get("pid")
        self._session = ClaudeSession(
            id=str(greeting["conversation"]),
            cwd=str(self._port.cwd),
            pid=pid if isinstance(pid, int) else None,
            config="",
        )
        self._owes_introduction = True
        self._open({})

    async def _knows(self, text: str) -> bool:
        """Whether a resumed conversation has been told this before."""
        needle = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
        return needle in await asyncio.to_thread(self._transcript)

    def _transcript(self) -> bytes:
        """All there is of it; empty when there is none."""
        recorded = []
        for path in self._session.transcripts if self._session is not None else ():
            with contextlib.suppress(OSError):
                recorded.append(Path(path).read_bytes())
        return b"\n".join(recorded)

    def _is_recorded(self, identifier: str) -> bool:
        return stream.is_in_transcript(self._transcript(), identifier)

    def _tell_status(self) -> None:
        waiting = next(iter(self._questions.values()), None)
        if waiting is not None:
            status, detail = AgentStatus.WAITING, str(waiting["request"].get("tool_name")) or None
        elif self._turn_runs:
            status, detail = AgentStatus.BUSY, None
        else:
            status, detail = AgentStatus.IDLE, self._problem
        if self._greeting is not None and (status, detail) != self._told_status:
            self._told_status = (status, detail)
            self._port.status(status, detail)

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("session %s: %s", self._port.key, task, exc_info=task.exception())


def _names(greeting: Message, field: str) -> set[str]:
    listed = greeting.get(field)
    return {str(name) for name in listed} if isinstance(listed, list) else set()


def _step(request: Message) -> str:
    """Names a step: the same tool with the same input is the same step."""
    asked = request["request"]
    return json.dumps([asked.get("tool_name"), asked.get("input")], sort_keys=True)
