"""A Claude Code session's questions to a person, each a PermissionRequest hook that waits.

The dialog is on the screen at the same time, and who answers it there tells nobody: the hook is
ended when a turn is broken off, and left waiting when the step was allowed. So a question is over
when its hook hangs up, when the session's registry does not say `waiting` any more, when its tool
has a result in the transcript, or when the turn or conversation ends. A sub-agent that works in
the background has no dialog while the hook waits: its question is only the relay's.

Owns the open questions and what a person allowed for the whole session; both are forgotten with
the daemon, and the hooks ask the next one again. Runs on the daemon's event loop.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from relay_agentd.adapters.base import Answer, Ask, SessionPort
from relay_agentd.adapters.claude_session import ClaudeSession
from relay_agentd.adapters.claude_transcript import TranscriptReader
from relay_launchers.claude.evidence import Registered
from relay_launchers.claude.summary import summarize
from relay_server.wire import ApprovalMode, Decision

LOOK_SECONDS: Final = 0.25
"""How often the session's files are looked at while a question is open: an answer at the keyboard
shows at the relay within a second."""
_REGISTRY_LAG_MS: Final = 500
# Answered by what the person chooses or types there, which no `allow` of ours can say.
_ONLY_AT_THE_TERMINAL: Final = frozenset({"AskUserQuestion"})
_LEFT_TO_THE_TERMINAL: Final[Mapping[str, Any]] = {}

Call = tuple[str, str]
"""A tool and its whole input."""


@dataclass(slots=True, kw_only=True)
class _Question:
    ask: Ask
    call: Call | None
    """None where the input was too long to be told whole: it cannot be remembered."""
    agent_id: str | None
    """The sub-agent that asks."""
    tool_use_id: str | None
    asked_at_ms: float
    output: "asyncio.Future[Mapping[str, Any]]" = field(default_factory=asyncio.Future)
    is_at_relay: bool = False
    had_dialog: bool = False

    def is_over(self, registered: Registered) -> bool:
        """Whether the session, which does not wait, has gone past it."""
        # One of the main thread always has a dialog, perhaps between two looks.
        return self.had_dialog or (
            self.agent_id is None and registered.status_at_ms > self.asked_at_ms + _REGISTRY_LAG_MS
        )


class ClaudeQuestions:
    """See the module."""

    def __init__(
        self,
        port: SessionPort,
        session: Callable[[], ClaudeSession | None],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when the first question comes, the last one goes, and in between."""
        self._port = port
        self._session = session
        self._changed = changed
        self._open: dict[str, _Question] = {}
        self._allowed: set[Call] = set()
        # The gate names each call just before it becomes a question, which does not.
        self._tool_use_ids: dict[tuple[Call, str | None], str] = {}
        self._reader = TranscriptReader()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look whether the terminal has answered, while anything is open."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()
            if not self._open:
                self._wake.clear()

    @property
    def waiting_for(self) -> str | None:
        """The tool of the newest open question."""
        return next((each.ask.tool for each in reversed(self._open.values())), None)

    # --- what the hooks say ---

    def gate(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """PreToolUse in guarded mode: has a person allowed this very call for the session?"""
        call = _call(payload)
        if call is None:
            return {}
        tool_use_id = payload.get("tool_use_id")
        if isinstance(tool_use_id, str):
            self._tool_use_ids[call, payload.get("agent_id")] = tool_use_id
        is_allowed = call in self._allowed and self._port.approval is ApprovalMode.GUARDED
        return {"allowed": True} if is_allowed else {}

    async def ask(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """PermissionRequest: wait for an answer; what the hook prints."""
        tool, ask_id = str(payload.get("tool_name", "")), payload.get("ask_id")
        agent_id = payload.get("agent_id")
        is_open = self._port.approval is ApprovalMode.OPEN
        # In the background the dialog waits for the hook, and in open mode it is all there is.
        if not isinstance(ask_id, str) or (is_open and agent_id is not None):
            return _LEFT_TO_THE_TERMINAL
        question = self._open.get(ask_id)
        if question is None:
            call = _call(payload)
            question = self._open[ask_id] = _Question(
                ask=_ask(ask_id, tool, payload),
                call=call,
                agent_id=agent_id,
                tool_use_id=self._tool_use_ids.pop((call, agent_id), None) if call else None,
                asked_at_ms=float(payload.get("asked_at_ms") or 0),
            )
            if len(self._open) == 1:
                # What was written before is no answer, and may be megabytes.
                self._reader.skip_to_end(self._transcripts())
            self._wake.set()
            self._changed()
            self._mirror(question)
        return await asyncio.shield(question.output)

    def hung_up(self, payload: Mapping[str, Any]) -> None:
        """The hook of a question is gone: the step was broken off."""
        self._settle(self._open.get(str(payload.get("ask_id"))))

    def turn_ended(self) -> None:
        """Only sub-agents in the background may still ask."""
        self._tool_use_ids.clear()
        for question in list(self._open.values()):
            if question.agent_id is None:
                self._settle(question)

    def conversation_ended(self) -> None:
        """Nobody asks any more, and what was allowed was allowed to that one."""
        self._allowed.clear()
        self._tool_use_ids.clear()
        for question in list(self._open.values()):
            self._settle(question)

    # --- what the relay says ---

    def answer(self, ask_id: str, answer: Answer) -> None:
        """A person has decided at the relay; harmless when it is over already."""
        question = self._open.get(ask_id)
        if question is None:
            return
        if answer.for_session and answer.decision is Decision.ALLOW and question.call is not None:
            self._allowed.add(question.call)
        self._close(question, _decided(answer))

    def approval_changed(self, mode: ApprovalMode) -> None:
        """The mode was tightened, perhaps under an open dialog."""
        for question in list(self._open.values()):
            if mode is ApprovalMode.GUARDED:
                self._mirror(question)
            elif mode is ApprovalMode.READ_ONLY and not question.is_at_relay:
                reason = "Agent Relay: this session is read-only"
                self.answer(question.ask.id, Answer(decision=Decision.DENY, reason=reason))

    # --- inside ---

    def _mirror(self, question: _Question) -> None:
        """Show it at the relay, where the mode wants that."""
        if question.is_at_relay or question.ask.tool in _ONLY_AT_THE_TERMINAL:
            return
        if self._port.approval is not ApprovalMode.OPEN:
            question.is_at_relay = True
            self._port.asked(question.ask)

    async def _look(self) -> None:
        session = self._session()
        registered = session.registered() if session is not None else None
        if registered is not None and registered.status is not None:
            self._follow(registered)
        if any(each.tool_use_id for each in self._open.values()):
            self._read(await asyncio.to_thread(self._reader.read_new, self._transcripts()))

    def _follow(self, registered: Registered) -> None:
        """Draw conclusions from the session's registry file."""
        is_waiting = registered.status == "waiting"
        # With a question of the main thread on the screen, sub-agents may ask unseen.
        seen = {each.agent_id for each in self._open.values()}
        for question in list(self._open.values()):
            if is_waiting:
                question.had_dialog |= question.agent_id is None or None not in seen
            elif question.is_over(registered):
                self._settle(question)

    def _read(self, added: bytes) -> None:
        """Of several dialogs one was answered: the session waits on, but that tool has a result."""
        for question in list(self._open.values()):
            if question.tool_use_id and _has_result(added, question.tool_use_id):
                self._settle(question)

    def _transcripts(self) -> list[str]:
        session = self._session()
        if session is None or not session.transcripts:
            return []
        current = Path(session.transcripts[-1])
        agents = {each.agent_id for each in self._open.values() if each.agent_id}
        folder = current.with_suffix("") / "subagents"
        return [str(current), *(str(folder / f"agent-{agent}.jsonl") for agent in sorted(agents))]

    def _settle(self, question: _Question | None) -> None:
        """The terminal answered, or nobody needs an answer."""
        if question is not None:
            self._close(question, _LEFT_TO_THE_TERMINAL)
            if question.is_at_relay:
                self._port.settled(question.ask.id)

    def _close(self, question: _Question, output: Mapping[str, Any]) -> None:
        self._open.pop(question.ask.id, None)
        if not question.output.done():
            question.output.set_result(output)
        self._changed()


def _ask(ask_id: str, tool: str, payload: Mapping[str, Any]) -> Ask:
    given = payload.get("tool_input")
    tool_input = given if isinstance(given, Mapping) else {}
    agent_type = payload.get("agent_type") if payload.get("agent_id") else None
    return Ask(
        id=ask_id, tool=tool, summary=summarize(tool, tool_input, agent_type), input=tool_input
    )


def _call(payload: Mapping[str, Any]) -> Call | None:
    if payload.get("clipped") is not False:
        return None
    told = json.dumps(payload.get("tool_input"), sort_keys=True)
    return str(payload.get("tool_name", "")), told


def _decided(answer: Answer) -> Mapping[str, Any]:
    decision = {"behavior": answer.decision.value}
    if answer.decision is Decision.DENY:
        decision["message"] = answer.reason or "a person said no"
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}


def _has_result(transcript: bytes, tool_use_id: str) -> bool:
    """Claude Code writes JSON without spaces, and quotes within text are escaped."""
    return f'"tool_use_id":{json.dumps(tool_use_id)}'.encode() in transcript
