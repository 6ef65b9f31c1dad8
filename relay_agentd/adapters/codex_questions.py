"""What a Codex session waits for a person to decide, and the answers on their way back.

One for each adapter: it outlives connections, because a question does. The server asks it of every
subscribed client at once, and again of each that subscribes later; the first answer wins and later
ones are ignored, so nothing here has to know who answers. What is answered in the terminal ends by
`serverRequest/resolved`, or with its turn. A person's word is sent only to the server that asked,
never twice over one connection, and never as an error, which would be a denial too.

    expected ──asked──▶ open ──a person's word──▶ answered ──resolved──▶ settled
        └───────────────┴─────resolved, or the thread rests─────────────────┘

Runs on the daemon's event loop only.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from relay_agentd.adapters.base import Answer, Ask, SessionPort
from relay_agentd.adapters.codex_connection import CodexConnection, Refused
from relay_launchers.codex import protocol
from relay_launchers.codex.questions import JsonObject, Question, RequestId
from relay_server.wire import Decision

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """One question that the server waits with."""

    question: Question
    is_asked: bool = False
    """The supervisor knows of it."""
    answer: Answer | None = None
    connection: CodexConnection | None = None
    """The one it was last seen on; None: seen on none since the last one was lost."""
    is_sent: bool = False
    """Its answer went out over that connection."""


class Questions:
    """See the module."""

    def __init__(self, port: SessionPort) -> None:
        self._port = port
        self._open: dict[str, _Open] = {}

    @property
    def is_waiting(self) -> bool:
        """Does anything wait for a person?"""
        return any(each.is_asked and not each.is_sent for each in self._open.values())

    def expect(self, question: Question, connection: CodexConnection) -> bool:
        """The server asks; False when it is known already, and needs nothing but perhaps the
        answer again (`unsent`)."""
        known = self._open.setdefault(question.id, _Open(question))
        known.connection, known.is_sent = connection, False
        return not known.is_asked

    def ask(self, question: Question) -> None:
        """Put it to the supervisor, unless it is over by now."""
        known = self._open.get(question.id)
        if known is None:
            return
        known.question, known.is_asked = question, True
        self._port.asked(
            Ask(id=question.id, tool=question.tool, summary=question.summary, input=question.input)
        )

    def drop(self, question: Question) -> None:
        """It is not ours to ask, and not ours to answer."""
        self._open.pop(question.id, None)

    def answered(self, ask_id: str, answer: Answer) -> None:
        """A person's word, to be sent; the first one counts, and a late one is nothing."""
        known = self._open.get(ask_id)
        if known is not None and known.answer is None:
            known.answer = answer

    def lost(self) -> None:
        """The connection is gone; the server keeps its questions."""
        for known in self._open.values():
            known.connection, known.is_sent = None, False

    async def send(self) -> None:
        """Send what is decided and can be sent. Raises Lost."""
        for known in list(self._open.values()):
            connection, answer = known.connection, known.answer
            if answer is None or connection is None or known.is_sent:
                continue
            known.is_sent = True
            if answer.decision is Decision.DENY and answer.reason:
                await self._tell_reason(connection, known.question, answer.reason)
            await connection.respond(known.question.request_id, _result(known.question, answer))

    # --- ends

    def resolved(self, thread_id: str, request_id: RequestId) -> None:
        """Somebody answered, or the server does not wait any more."""
        self._settle(
            each
            for each in self._open.values()
            if each.question.thread_id == thread_id and each.question.request_id == request_id
        )

    def thread_rests(self, thread_id: str) -> None:
        """A thread that does not wait for anybody."""
        self._settle(each for each in self._open.values() if each.question.thread_id == thread_id)

    def forget_unseen(self, thread_id: str) -> None:
        """The thread was subscribed to, and the server asked what it still asks."""
        self._settle(
            each
            for each in self._open.values()
            if each.question.thread_id == thread_id and each.connection is None
        )

    def settle_all(self) -> None:
        """The conversation left the terminal."""
        self._settle(self._open.values())

    def _settle(self, over: Iterable[_Open]) -> None:
        for known in list(over):
            del self._open[known.question.id]
            if known.is_asked:
                self._port.settled(known.question.id)

    async def _tell_reason(
        self, connection: CodexConnection, question: Question, reason: str
    ) -> None:
        """A denial has no words of its own; the model reads these beside it."""
        text = f"[Agent Relay] A person denied `{question.summary}`: {reason}"
        with suppress(Refused):
            await connection.call(protocol.tell_silently(question.thread_id, text))


def _result(question: Question, answer: Answer) -> JsonObject:
    if answer.decision is not Decision.ALLOW:
        return question.deny
    return question.allow_for_session if answer.for_session else question.allow
