"""Which of the server's requests are questions of the conversation on the terminal.

One for each connection. A question is the conversation's own or one of its sub-agents', which are
threads of their own; a conversation that left the terminal has nobody to ask. A sub-agent that
began while somebody listened is heard of itself, an older one has to be subscribed to. Owns what
it saw of proposed patches, for the question that follows names only the item. Runs on the daemon's
event loop only.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from relay_agentd.adapters.codex_connection import CodexConnection, Refused
from relay_agentd.adapters.codex_questions import Questions
from relay_launchers.codex import protocol
from relay_launchers.codex.protocol import Thread
from relay_launchers.codex.questions import JsonObject, Question, parse_question, with_changes


class QuestionIntake:
    """See the module."""

    def __init__(
        self,
        connection: CodexConnection,
        questions: Questions,
        *,
        is_followed: Callable[[str], bool],
        start: Callable[[Coroutine[Any, Any, None]], None],
        changed: Callable[[], None],
        cwd: str,
    ) -> None:
        """`start` runs work beside the receiving; `changed`: something waits that did not."""
        self._connection = connection
        self._questions = questions
        self._is_followed = is_followed
        self._start = start
        self._changed = changed
        self._cwd = cwd
        self._heard: set[str] = set()
        self._patches: dict[str, Sequence[JsonObject]] = {}

    def take(self, request_id: int | str, method: str, params: Mapping[str, Any]) -> None:
        """The server asks something."""
        question = parse_question(request_id, method, params)
        if question is None:
            return
        if self._questions.expect(question, self._connection):
            self._start(self._ask(question))
        else:
            self._start(self._questions.send())

    def proposed(self, item_id: str, changes: Sequence[JsonObject]) -> None:
        """A patch that a question may follow."""
        self._patches[item_id] = changes

    def hears(self, thread_id: str) -> bool:
        """Whether a sub-agent was subscribed to."""
        return thread_id in self._heard

    async def hear(self, thread: Thread) -> None:
        """A sub-agent that may have begun before anybody listened, and waits. Raises Lost."""
        if not thread.is_conversation and self._is_followed(thread.root):
            self._heard.add(thread.id)
            with suppress(Refused):
                await self._connection.call(protocol.subscribe(thread.id))

    async def _ask(self, question: Question) -> None:
        if not await self._is_ours(question.thread_id):
            self._questions.drop(question)
            return
        if question.wants_changes:
            changes = self._patches.get(question.item_id) or await self._look_up(question)
            question = with_changes(question, changes, self._cwd)
        self._questions.ask(question)
        self._changed()

    async def _is_ours(self, thread_id: str) -> bool:
        if self._is_followed(thread_id):
            return True
        try:
            answer = await self._connection.call(protocol.read_thread(thread_id))
            return self._is_followed(protocol.parse_thread(answer["thread"]).root)
        except (Refused, KeyError, TypeError):
            return False

    async def _look_up(self, question: Question) -> Sequence[JsonObject]:
        """The changes of a patch that was proposed before anybody listened."""
        with suppress(Refused, KeyError):
            read = protocol.read_thread(question.thread_id, turns=True)
            answer = await self._connection.call(read)
            return protocol.patch_in(answer["thread"].get("turns") or [], question.item_id)
        return ()
