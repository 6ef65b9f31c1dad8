"""Which thread is on the terminal, and what it does: the listening half of Codex's transport.

One follower for each connection. It owns what it saw of the threads and the tasks that ask the
server further; it tells the supervisor through the port and never pushes. Questions to a person
are taken from the conversation on the terminal and its sub-agents; all others stay unanswered.
Runs on the daemon's event loop only.

    thread/started of a conversation        follow it (start, /new, fork)
    status of a thread nobody announced     look at it, follow it (resume)
    thread/goal/* of another conversation   follow it (/resume of a loaded thread)
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_agentd.adapters.base import SessionPort
from relay_agentd.adapters.codex_connection import CodexConnection, Lost, Refused
from relay_agentd.adapters.codex_history import entered, queued
from relay_agentd.adapters.codex_intake import QuestionIntake
from relay_agentd.adapters.codex_own_thread import OwnThread
from relay_agentd.adapters.codex_policy import PolicyKeeper
from relay_agentd.adapters.codex_questions import Questions
from relay_agentd.adapters.codex_welcomed import Welcomed
from relay_launchers.codex import protocol
from relay_launchers.codex.policy import SessionPolicy
from relay_launchers.codex.protocol import (
    Event,
    PatchProposed,
    RequestResolved,
    StatusChanged,
    Thread,
    ThreadClosed,
    ThreadOpened,
    ThreadStarted,
    ThreadStatus,
    TurnCompleted,
    UserMessage,
)
from relay_server.wire import AgentStatus, Reachability

# A thread is on disk, and can be subscribed to, about 0.1 s after its first turn began.
SUBSCRIBE_PAUSE_SECONDS = 0.05
SUBSCRIBE_TRIES = 100
# What the server still asks it says right behind its answer.
REPLAY_SECONDS = 1.0

_STATUS = {"busy": AgentStatus.BUSY, "waiting": AgentStatus.WAITING}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Followed:
    """The thread on the terminal."""

    id: str
    status: ThreadStatus
    may_be_held: bool = True
    """An interrupt, perhaps one that nobody saw, stops the queue until it is started again."""
    is_settled: bool = False
    """It has this session's policy and introduction, so that it may get messages."""
    is_subscribed: bool = False
    is_subscribing: bool = False


@dataclass(slots=True)
class Memory:
    """What outlives a connection."""

    welcomed: Welcomed
    questions: Questions
    opened: str | None = None
    """The conversation last reported to the supervisor."""
    unproved: set[str] = field(default_factory=set)
    """Deliveries handed over whose user message was not seen yet."""


class ThreadFollower:
    """Follows one connection's threads."""

    def __init__(
        self,
        connection: CodexConnection,
        port: SessionPort,
        memory: Memory,
        policy: SessionPolicy | None,
        own: OwnThread | None = None,
    ) -> None:
        """`own`: there is no terminal; the thread is begun here."""
        self.followed: Followed | None = None
        self.connection = connection
        self._port = port
        self._memory = memory
        self._questions = memory.questions
        self._policy = PolicyKeeper(connection, port, memory.welcomed, policy)
        self._own = own
        self._conversations: dict[str, bool] = {}
        self._intake = QuestionIntake(
            connection,
            memory.questions,
            is_followed=self._is_followed,
            start=self._start,
            changed=self._report_again,
            cwd=str(port.cwd),
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Take up the conversation that runs already: another daemon's, or one that was quicker
        than us. Where several are loaded, the one with the latest sign of life is on the terminal.
        Without a terminal it is begun here. Raises Lost, Refused.
        """
        loaded = await self._loaded()
        threads = [each for each in loaded if each.is_conversation]
        if threads and self.followed is None:
            thread = max(threads, key=lambda each: (each.recency, each.id))
            await self._welcome(thread, self._follow(thread))
        if self._own is not None and self.followed is None:
            await self._open(self._own)
        await self._apply_policy(loaded)
        for thread in loaded:
            if thread.status.state == "waiting":
                await self._intake.hear(thread)

    async def end(self) -> None:
        """Stop all work beside the receiving."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def take(self, method: str, params: Mapping[str, Any]) -> None:
        """One notification of the server."""
        event = protocol.parse_notification(method, params)
        if event is not None:
            self._apply(event)

    def take_request(self, request_id: int | str, method: str, params: Mapping[str, Any]) -> None:
        """The server asks every client something, and whoever is first answers."""
        self._intake.take(request_id, method, params)

    def send_answers(self) -> None:
        """Somebody decided."""
        self._start(self._questions.send())

    def approval_changed(self) -> None:
        """The approval mode in force is another one now."""
        self._start(self._change_policy())

    async def release(self, followed: Followed) -> None:
        """Let a held queue run on; the server refuses when it is empty or running. Raises Lost."""
        with suppress(Refused):
            await self.connection.call(protocol.release_queue(followed.id))
            followed.may_be_held = False

    # -- events

    def _apply(self, event: Event) -> None:
        match event:
            case ThreadStarted(thread=thread):
                self._conversations[thread.id] = thread.is_conversation
                if thread.is_conversation and not self._is_followed(thread.id):
                    self._start(self._welcome(thread, self._follow(thread)))
            case ThreadOpened(thread_id=thread_id):
                if self._conversations.get(thread_id) and not self._is_followed(thread_id):
                    self._start(self._take_up(thread_id))
            case StatusChanged(thread_id=thread_id, status=status):
                self._status_changed(thread_id, status)
            case ThreadClosed(thread_id=thread_id):
                self._status_changed(thread_id, ThreadStatus(state="gone"))
            case TurnCompleted(thread_id=thread_id, end="interrupted"):
                if self.followed is not None and self._is_followed(thread_id):
                    self.followed.may_be_held = True
                    self._start(self.release(self.followed))
            case _:
                self._apply_in_turn(event)

    def _apply_in_turn(self, event: Event) -> None:
        match event:
            case UserMessage(client_id=client_id):
                self._prove(client_id)
            case PatchProposed(item_id=item_id, changes=changes):
                self._intake.proposed(item_id, changes)
            case RequestResolved(thread_id=thread_id, request_id=request_id):
                self._questions.resolved(thread_id, request_id)
                self._report_again()
            case _:
                pass

    def _status_changed(self, thread_id: str, status: ThreadStatus) -> None:
        if status.state != "waiting":
            self._questions.thread_rests(thread_id)
        followed = self.followed
        if followed is None or followed.id != thread_id:
            if thread_id not in self._conversations or (
                status.state == "waiting" and not self._intake.hears(thread_id)
            ):
                self._start(self._take_up(thread_id))
            self._report_again()
            return
        if status.state == "gone":
            self.followed = None
            del self._conversations[thread_id]
            self._port.reachable(Reachability.NONE)
            if self._own is not None:
                self._start(self._open(self._own))
            return
        followed.status = status
        self._report(status)
        self._subscribe_soon(followed, SUBSCRIBE_TRIES)
        if status.state == "idle" and followed.may_be_held and self._memory.unproved:
            self._start(self.release(followed))

    def _follow(self, thread: Thread) -> Followed:
        """From now on this is the thread on the terminal."""
        left = self.followed
        self.followed = followed = Followed(id=thread.id, status=thread.status)
        if thread.id != self._memory.opened:
            self._memory.opened = thread.id
            self._port.opened(thread.id, cwd=Path(thread.cwd))
        if self._own is not None:
            self._own.conversation = thread.id
        if thread.path is not None:
            self._port.records(Path(thread.path))
        if left is not None and left.id != thread.id:
            # Nobody sees its questions any more; it waits with them until it is opened again.
            self._questions.settle_all()
            self._start(self._withdraw(left.id))
        self._report(thread.status)
        return followed

    def _settle(self, followed: Followed) -> None:
        """Messages may come."""
        followed.is_settled = True
        self._port.reachable(Reachability.PUSH)
        self._port.ready()
        self._subscribe_soon(followed, tries=1)

    def _is_followed(self, thread_id: str) -> bool:
        return self.followed is not None and self.followed.id == thread_id

    def _report(self, status: ThreadStatus) -> None:
        if status.state == "busy" and self._questions.is_waiting:
            # A sub-agent's question: the conversation itself goes on meanwhile.
            self._port.status(AgentStatus.WAITING, "waiting for an approval")
            return
        self._port.status(_STATUS.get(status.state, AgentStatus.IDLE), status.detail)
        if status.state == "idle" and self.followed is not None and self.followed.is_settled:
            self._port.ready()

    def _report_again(self) -> None:
        if self.followed is not None and self.followed.status.state == "busy":
            self._report(self.followed.status)

    def _prove(self, client_id: str) -> None:
        if client_id in self._memory.unproved:
            self._memory.unproved.discard(client_id)
            if self.followed is not None:
                self.followed.may_be_held = False
            self._port.proved(client_id, via="codex")

    # -- work beside the receiving

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _loaded(self) -> list[Thread]:
        """All threads in the server's memory but those that Codex keeps to itself."""
        answer = await self.connection.call(protocol.list_loaded())
        found = [await self._read(thread_id) for thread_id in answer.get("data") or []]
        return [each for each in found if each is not None and each.status.state != "gone"]

    async def _read(self, thread_id: str) -> Thread | None:
        try:
            answer = await self.connection.call(protocol.read_thread(thread_id))
            thread = protocol.parse_thread(answer["thread"])
        except (Refused, KeyError, TypeError):
            self._conversations[thread_id] = False
            return None
        self._conversations[thread_id] = thread.is_conversation
        return thread

    async def _open(self, own: OwnThread) -> None:
        """Begin the conversation, or go on with it. Raises Lost, Refused."""
        thread, is_resumed = await own.open(self.connection)
        if is_resumed:
            # It was told all about the relay when it began.
            self._memory.welcomed.add(thread.id)
        self._conversations[thread.id] = True
        self._port.troubled(None)
        # The server's notice of it may have been first.
        if not self._is_followed(thread.id):
            await self._welcome(thread, self._follow(thread))

    async def _take_up(self, thread_id: str) -> None:
        """Follow a thread that the terminal opened, or find that it is none of its threads."""
        thread = await self._read(thread_id)
        if thread is None or thread.status.state == "gone":
            return
        if not thread.is_conversation:
            if thread.status.state == "waiting":
                await self._intake.hear(thread)
        elif self._is_followed(thread_id):
            # Two notices of one thread: this look is the newer one.
            self._status_changed(thread_id, thread.status)
        else:
            await self._welcome(thread, self._follow(thread))

    async def _welcome(self, thread: Thread, followed: Followed) -> None:
        """What a conversation gets once in a session, before any message."""
        await self._policy.apply(thread)
        if followed.id not in self._memory.welcomed:
            if introduction := self._port.introduction():
                try:
                    await self.connection.call(protocol.tell_silently(followed.id, introduction))
                except Refused as refusal:
                    log.warning("codex refused the introduction: %s", refusal)
            self._memory.welcomed.add(followed.id)
        if self.followed is followed:
            self._settle(followed)

    async def _change_policy(self) -> None:
        await self._apply_policy(await self._loaded())

    async def _apply_policy(self, threads: list[Thread]) -> None:
        for thread in threads:
            await self._policy.apply(thread)

    def _subscribe_soon(self, followed: Followed, tries: int) -> None:
        if not (followed.is_subscribed or followed.is_subscribing):
            followed.is_subscribing = True
            self._start(self._subscribe(followed, tries))

    async def _subscribe(self, followed: Followed, tries: int) -> None:
        """Ask for the thread's turns and items, which a thread without a turn may refuse."""
        try:
            for attempt in range(tries):
                if attempt:
                    await asyncio.sleep(SUBSCRIBE_PAUSE_SECONDS)
                if self.followed is not followed:
                    return
                with suppress(Refused):
                    await self.connection.call(protocol.subscribe(followed.id))
                    followed.is_subscribed = True
                    await self._catch_up(followed)
                    await asyncio.sleep(REPLAY_SECONDS)
                    self._questions.forget_unseen(followed.id)
                    return
        finally:
            followed.is_subscribing = False

    async def _catch_up(self, followed: Followed) -> None:
        """What happened while nobody listened: messages that entered, an interrupt."""
        wanted = set(self._memory.unproved)
        for message_id in await entered(self.connection, followed.id, wanted):
            self._prove(message_id)
        if followed.status.state == "idle" and self._memory.unproved:
            await self.release(followed)

    async def _withdraw(self, thread_id: str) -> None:
        """Take our messages out of the queue of a thread that left the terminal."""
        for message_id, entry in (await queued(self.connection, thread_id)).items():
            if message_id in self._memory.unproved:
                await self.connection.call(protocol.withdraw(thread_id, entry))
                self._memory.unproved.discard(message_id)
                self._port.lost(message_id)


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """A task's end: a lost connection is noticed elsewhere, anything else is said."""
    try:
        await work
    except Lost:
        pass
    except Refused as refusal:
        log.warning("codex refused: %s", refusal)
    except (KeyError, TypeError, ValueError):
        log.exception("codex answered in a shape nobody expected")
