"""Codex's transport: connects to the session's app-server and hands deliveries over.

    urgent while a turn runs      -> turn/start       (steers the running turn)
    server with a queue           -> thread/queue/add (a turn of its own, in order)
    older server, thread is idle  -> turn/start

Owns the connection; `codex_follower` listens, `codex_questions` keeps what waits for a person,
`codex_policy` sets the approval mode. The proof of a delivery is the user message that carries its
id. Runs on the daemon's event loop only.
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException

from relay_agentd.adapters.base import Answer, Delivery, Outcome, SessionPort, Way
from relay_agentd.adapters.codex_connection import CodexConnection, Lost, Refused, connect
from relay_agentd.adapters.codex_follower import Followed, Memory, ThreadFollower
from relay_agentd.adapters.codex_history import holds
from relay_agentd.adapters.codex_own_thread import OwnThread
from relay_agentd.adapters.codex_questions import Questions
from relay_agentd.adapters.codex_welcomed import Welcomed
from relay_agentd.backoff import Backoff
from relay_launchers.codex import protocol
from relay_launchers.codex.policy import POLICY_FILE, SessionPolicy
from relay_launchers.codex.protocol import ThreadStatus
from relay_launchers.codex.questions import JsonObject
from relay_server.wire import ApprovalMode, Priority, Reachability

# The app-server is on this machine: it is there or it is gone.
RECONNECT_FIRST_SECONDS = 0.05
RECONNECT_CAP_SECONDS = 1.0

log = logging.getLogger(__name__)


class CodexAdapter:
    """A Codex session on its own app-server (`relay_agentd.adapters.base.Adapter`)."""

    def __init__(
        self,
        port: SessionPort,
        socket: Path,
        *,
        client_version: str = "0",
        is_background: bool = False,
        conversation: str | None = None,
    ) -> None:
        """`is_background`: there is no terminal that begins a thread; `conversation` goes on."""
        self._port = port
        self._socket = socket
        self._client_version = client_version
        self._is_background = is_background
        self._conversation = conversation
        self._memory = Memory(welcomed=Welcomed(port.folder), questions=Questions(port))
        self._follower: ThreadFollower | None = None
        self._has_queue = True
        self._push_order = asyncio.Lock()

    async def run(self) -> None:
        """Connect, follow and reconnect until cancelled."""
        backoff = Backoff(RECONNECT_FIRST_SECONDS, RECONNECT_CAP_SECONDS)
        policy = _read_policy(self._port.folder)
        own = None
        if self._is_background:
            own = OwnThread(self._conversation, self._port, policy)
        while True:
            try:
                async with connect(self._socket, self._notice, self._asked) as connection:
                    await self._serve(connection, policy, own, backoff)
            except Refused as refusal:
                self._port.troubled(f"codex refused: {refusal}")
            except (OSError, WebSocketException, Lost):
                pass
            await asyncio.sleep(backoff.next_delay(random.random()))  # noqa: S311 - no secret

    async def push(self, delivery: Delivery) -> Outcome:
        """Hand one delivery over, by the first way of the ladder that works now."""
        async with self._push_order:
            follower = self._follower
            if follower is None or follower.followed is None or not follower.followed.is_settled:
                return Outcome.NOT_NOW
            # Before the effect: its proof may arrive ahead of the answer.
            self._memory.unproved.add(delivery.id)
            try:
                outcome = await self._hand_over(follower, follower.followed, delivery)
            except Lost:
                return Outcome.UNKNOWN
            except Refused as refusal:
                log.warning("codex refused a delivery: %s", refusal)
                outcome = Outcome.NOT_NOW
            if outcome is Outcome.NOT_NOW:
                self._memory.unproved.discard(delivery.id)
            return outcome

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Is the delivery in the context (or queued to enter)? None: cannot tell yet."""
        follower = self._follower
        if follower is None or follower.followed is None:
            return None
        try:
            return await holds(follower.connection, follower.followed.id, delivery.id)
        except Lost:
            return None

    async def hook(
        self,
        event: str,  # noqa: ARG002 - the protocol's signature
        payload: Mapping[str, Any],  # noqa: ARG002
        environment: Mapping[str, str],  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """Codex is started without hooks of ours."""
        return {}

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """These were handed over and lack proof."""
        self._memory.unproved.update(delivery.id for delivery in deliveries)

    def answer(self, ask_id: str, answer: Answer) -> None:
        """A question of this session has been answered; without a connection the answer waits
        for the server to ask again."""
        self._memory.questions.answered(ask_id, answer)
        if self._follower is not None:
            self._follower.send_answers()

    def approval_changed(self, mode: ApprovalMode) -> None:  # noqa: ARG002 - the port has it
        """The mode in force changed; without a connection the next one sees to it."""
        if self._follower is not None:
            self._follower.approval_changed()

    def ways(self) -> Sequence[Way]:
        """The ladder, first way first."""
        return ()

    async def _serve(
        self,
        connection: CodexConnection,
        policy: SessionPolicy | None,
        own: OwnThread | None,
        backoff: Backoff,
    ) -> None:
        follower = ThreadFollower(connection, self._port, self._memory, policy, own)
        receiving = asyncio.create_task(connection.receive())
        self._follower = follower
        try:
            await connection.call(protocol.initialize(self._client_version))
            await connection.announce("initialized")
            await follower.begin()
            backoff.reset()
            await receiving
        finally:
            self._follower = None
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await follower.end()
            self._memory.questions.lost()
            self._port.reachable(Reachability.NONE)

    def _notice(self, method: str, params: JsonObject) -> None:
        if self._follower is not None:
            self._follower.take(method, params)

    def _asked(self, request_id: int | str, method: str, params: JsonObject) -> None:
        if self._follower is not None:
            self._follower.take_request(request_id, method, params)

    async def _hand_over(
        self, follower: ThreadFollower, followed: Followed, delivery: Delivery
    ) -> Outcome:
        message = (followed.id, delivery.id, delivery.text)
        is_idle = followed.status.state == "idle"
        if delivery.priority is Priority.URGENT and not is_idle:
            await follower.connection.call(protocol.start_turn(*message))
            return Outcome.HANDED
        if self._has_queue and await self._enqueue(follower.connection, message):
            if followed.may_be_held:
                await follower.release(followed)
            return Outcome.HANDED
        if not is_idle:
            return Outcome.NOT_NOW
        # At once, not when the server says so: the next push must not steer this turn.
        followed.status = ThreadStatus(state="busy")
        await follower.connection.call(protocol.start_turn(*message))
        return Outcome.HANDED

    async def _enqueue(self, connection: CodexConnection, message: tuple[str, str, str]) -> bool:
        """False: this server has no queue. Raises Refused when it has one and will not take it."""
        try:
            await connection.call(protocol.queue_message(*message))
        except Refused as refusal:
            if not protocol.is_unknown_method(str(refusal)):
                raise
            self._has_queue = False
        return self._has_queue


def _read_policy(folder: Path) -> SessionPolicy | None:
    """What the plan left for the session.

    A file that cannot be read is a broken launch and must not start a session without its policy:
    it raises.
    """
    path = folder / POLICY_FILE
    return SessionPolicy.from_text(path.read_text()) if path.exists() else None
