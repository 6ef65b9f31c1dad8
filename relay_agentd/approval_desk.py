"""Questions of this machine's sessions to people, and the answers.

A question is shown at the relay and, where the session has one, in its terminal; whoever is first
answers. One task a question: it posts it (again and again while the relay is away), waits for the
decision, and cancels it when the session does not need the answer any more. Nothing is written
down here: the relay keeps the approval, and the provider asks a new daemon again under the same
id, whose idempotency key finds the same approval. What a dead daemon left and nobody asks for any
more is canceled.

    wanted ──posted──▶ pending ──decided | expired──▶ answered
                          └──settled by the session──▶ canceled

Fails closed: no answer is a denial, and so is a relay that cannot be asked where nobody sits at a
terminal. Runs on the daemon's loop.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.adapters.base import Answer, Ask
from relay_agentd.backoff import Backoff
from relay_agentd.clock import monotonic
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_stream import RECONNECT
from relay_server.wire import ApprovalStatus, Decision

log = logging.getLogger(__name__)

EXPIRES_SECONDS: Final = 3600
"""How long a person has."""
UNATTENDED_SECONDS: Final = 20.0
"""How long a session without a terminal waits for a relay that cannot be reached."""
# The stream tells at once; this is for a word that got lost with it.
_LOOK_SECONDS: Final = 30.0
# Codex and the hooks ask a new daemon again within a second or two.
_STRAY_SECONDS: Final = 10.0
_LONGEST_SUMMARY: Final = 4000
_LONGEST_TOOL: Final = 200

OnAnswer = Callable[[str, Answer], None]


@dataclass(slots=True, kw_only=True)
class _Question:
    """One question that a session waits for."""

    ask: Ask
    agent_id: str
    instance: str
    is_attended: bool
    on_answer: OnAnswer
    round: int = 0
    """Which posting this is: one that the relay canceled by itself is posted anew."""
    approval_id: int | None = None
    is_settled: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    @property
    def idempotency_key(self) -> str:
        """The same question of the same session has the same one, whichever daemon posts it."""
        named = f"{self.instance} {self.ask.id} {self.round}"
        return "ask-" + sha256(named.encode()).hexdigest()[:40]


class ApprovalDesk:
    """See the module."""

    def __init__(self, client: AsyncRelayClient, is_ours: Callable[[str], bool]) -> None:
        """`is_ours`: is this agent one of this machine's sessions?"""
        self._client = client
        self._is_ours = is_ours
        self._questions: dict[tuple[str, str], _Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_strays = True

    # --- what sessions say; all of it returns at once ---

    def ask(
        self, ask: Ask, *, agent_id: str, instance: str, is_attended: bool, on_answer: OnAnswer
    ) -> None:
        """Ask a person. `is_attended`: somebody may answer at a terminal as well."""
        if (instance, ask.id) in self._questions:
            return
        question = _Question(
            ask=ask,
            agent_id=agent_id,
            instance=instance,
            is_attended=is_attended,
            on_answer=on_answer,
        )
        self._questions[instance, ask.id] = question
        question.task = self._start(self._carry(question), f"approval {ask.id}")

    def settle(self, ask_id: str, *, instance: str) -> None:
        """The session does not need this answer any more."""
        # Gone from here at once: asked again while the relay is still to hear of the end, it is a
        # question of its own.
        question = self._questions.pop((instance, ask_id), None)
        if question is not None:
            question.is_settled = True
            question.changed.set()

    def settle_all(self, *, instance: str) -> None:
        """The session has ended."""
        for question_instance, ask_id in list(self._questions):
            if question_instance == instance:
                self.settle(ask_id, instance=instance)

    def open_asks(self, *, instance: str) -> list[str]:
        """The ids of a session's questions that nobody has answered."""
        return [ask_id for other, ask_id in self._questions if other == instance]

    # --- what the link says ---

    def decided(self, approval: Mapping[str, Any]) -> None:
        """The relay's stream told of a decision; whoever waits looks it up."""
        for question in self._questions.values():
            if question.approval_id == approval.get("id"):
                question.changed.set()

    def connected(self) -> None:
        """The relay is there (again)."""
        for question in self._questions.values():
            question.changed.set()
        self._look_for_strays()

    async def stop(self) -> None:
        """Let go; the approvals stay at the relay for the next daemon."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- one question ---

    async def _carry(self, question: _Question) -> None:
        try:
            while not question.is_settled:
                approval = await self._post(question)
                if approval is None:
                    return
                ended = await self._decision(question, approval)
                if ended is None:
                    continue
                self._answer(question, ended)
                return
            await self._cancel(question)
        finally:
            name = (question.instance, question.ask.id)
            if self._questions.get(name) is question:
                del self._questions[name]

    async def _post(self, question: _Question) -> Mapping[str, Any] | None:
        """The approval as the relay keeps it; None when there will be none."""
        ask, backoff, began = question.ask, Backoff(*RECONNECT), monotonic()
        fields = {
            "tool": ask.tool[:_LONGEST_TOOL] or "tool",
            "summary": ask.summary[:_LONGEST_SUMMARY] or ask.tool,
            "input": dict(ask.input),
            "expiresInSeconds": EXPIRES_SECONDS,
        }
        while True:
            call = calls.ask(
                question.agent_id,
                fields,
                instance=question.instance,
                idempotency_key=question.idempotency_key,
            )
            try:
                approval: Mapping[str, Any] = await self._client.request(call)
            except RelayUnreachable as error:
                problem: Exception = error
            except RelayRefused as refusal:
                problem = refusal
                # 404: the agent's registration is on its way.
                if not refusal.may_pass and refusal.status not in (401, 404):
                    log.error(  # noqa: TRY400 - a verdict, not a mistake of ours
                        "the relay refused a question: %s (%s)", refusal, refusal.code
                    )
                    self._unasked(question, str(refusal))
                    return None
            else:
                question.approval_id = int(approval["id"])
                return approval
            if question.is_settled:
                # It may have been posted, and only the answer got lost.
                self._has_strays = True
                self._look_for_strays()
                return None
            if not question.is_attended and monotonic() - began >= UNATTENDED_SECONDS:
                self._unasked(question, str(problem))
                return None
            await self._pause(question, backoff.next_delay(random.random()))  # noqa: S311 - jitter

    def _unasked(self, question: _Question, why: str) -> None:
        """Nobody can be asked at the relay: a terminal still can, nobody else."""
        if not question.is_attended:
            reason = f"Agent Relay: nobody could be asked ({why})"
            self._tell(question, Answer(decision=Decision.DENY, reason=reason))

    async def _decision(
        self, question: _Question, approval: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """The approval once it is decided; None when the session, or the relay, canceled it."""
        current = approval
        # What came is the answer to the posting, which a repetition may bring long after.
        question.changed.set()
        while True:
            await self._pause(question, _LOOK_SECONDS)
            if question.is_settled:
                return None
            with suppress(RelayUnreachable, RelayRefused):
                current = await self._client.request(calls.approval(int(approval["id"])))
            status = current.get("status")
            if status == ApprovalStatus.CANCELED:
                # Our agent was offline for a moment: it still waits.
                question.round += 1
                return None
            if status != ApprovalStatus.PENDING:
                return current

    async def _pause(self, question: _Question, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(question.changed.wait(), seconds)
        question.changed.clear()

    def _answer(self, question: _Question, approval: Mapping[str, Any]) -> None:
        is_allowed = approval.get("decision") == Decision.ALLOW
        who, reason = approval.get("decidedBy") or "nobody", approval.get("reason")
        if approval.get("status") == ApprovalStatus.EXPIRED:
            reason = reason or "nobody answered in time"
        answer = Answer(
            decision=Decision.ALLOW if is_allowed else Decision.DENY,
            reason=reason or (None if is_allowed else f"{who} said no"),
            for_session=approval.get("remember") == "session",
        )
        log.info("approval %s: %s by %s", approval.get("id"), answer.decision, who)
        self._tell(question, answer)

    def _tell(self, question: _Question, answer: Answer) -> None:
        if not question.is_settled:
            question.on_answer(question.ask.id, answer)

    async def _cancel(self, question: _Question) -> None:
        """Until the relay has heard it: a question on somebody's phone that means nothing any
        more is worse than none."""
        if question.approval_id is not None:
            await self._cancel_approval(question.approval_id, question.instance)

    async def _cancel_approval(self, approval_id: int, instance: str | None) -> None:
        backoff = Backoff(*RECONNECT)
        while True:
            try:
                await self._client.request(calls.cancel_approval(approval_id, instance=instance))
            except RelayUnreachable:
                pass
            except RelayRefused as refusal:
                if not refusal.may_pass and refusal.status != 401:
                    return  # decided or canceled meanwhile
            else:
                return
            await asyncio.sleep(backoff.next_delay(random.random()))  # noqa: S311 - jitter

    def _look_for_strays(self) -> None:
        if self._has_strays:
            self._has_strays = False
            self._start(self._cancel_strays(), "stray approvals")

    async def _cancel_strays(self) -> None:
        """What was asked, perhaps by an earlier daemon, and no session asks any more."""
        await asyncio.sleep(_STRAY_SECONDS)
        try:
            found = await self._client.request(calls.approvals(status="pending", limit=500))
        except (RelayUnreachable, RelayRefused) as error:
            log.debug("no look for stray approvals: %s", error)
            self._has_strays = True
            return
        for approval in found.get("approvals", ()):
            known = {question.approval_id for question in self._questions.values()}
            if approval["id"] not in known and self._is_ours(str(approval["agentId"])):
                log.info("approval %s is nobody's any more", approval["id"])
                await self._cancel_approval(int(approval["id"]), None)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())
