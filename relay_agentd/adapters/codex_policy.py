"""A session's approval mode, set on the threads of its app-server.

Beside what the terminal's flags say (see `relay_launchers.codex.policy`), and whenever the mode
changes. What a tightened mode reaches and what it does not, as tried on codex 0.169:

    the next turn                 obeys: `thread/settings/update`
    the turn that runs            would go on as before to its end, so it is interrupted
    commands it left running      would go on for ever, so they are ended
    sub-agents                    are threads of their own, and treated the same
    questions that wait           end with their turn
    web search, and tools of MCP  cannot be taken away from a running server: a session launched
    servers that the person's     `open` keeps them until it is started again. (One launched
    own configuration allows      `guarded` or `read-only` never had them: see the plan.)

Each thread is set once for each mode, so that the person at the terminal keeps the last word
there. Owns nothing but what it wrote down in `Welcomed`. Runs on the daemon's event loop only.
"""

import asyncio
import logging

from relay_agentd.adapters.base import SessionPort
from relay_agentd.adapters.codex_connection import CodexConnection, Refused
from relay_agentd.adapters.codex_welcomed import Welcomed
from relay_launchers import base
from relay_launchers.codex import protocol
from relay_launchers.codex.policy import SessionPolicy, without_profile
from relay_launchers.codex.protocol import Request, Thread
from relay_launchers.codex.questions import JsonObject
from relay_server.wire import ApprovalMode

_MODES: dict[ApprovalMode, base.ApprovalMode] = {
    ApprovalMode.OPEN: "open",
    ApprovalMode.GUARDED: "guarded",
    ApprovalMode.READ_ONLY: "read-only",
}

log = logging.getLogger(__name__)


def mode_of(port: SessionPort) -> base.ApprovalMode:
    """The mode in force, in the launchers' words."""
    return _MODES[port.approval]


class PolicyKeeper:
    """One connection's; see the module."""

    def __init__(
        self,
        connection: CodexConnection,
        port: SessionPort,
        welcomed: Welcomed,
        policy: SessionPolicy | None,
    ) -> None:
        self._connection = connection
        self._port = port
        self._welcomed = welcomed
        self._policy = policy
        # What is set and what is noted of it belong together.
        self._one_at_a_time = asyncio.Lock()

    async def apply(self, thread: Thread) -> None:
        """Let a thread have the mode in force. Raises Lost."""
        if self._policy is not None:
            async with self._one_at_a_time:
                await self._apply(thread, self._policy)

    async def _apply(self, thread: Thread, policy: SessionPolicy) -> None:
        mode = policy.in_force(mode_of(self._port))
        before = self._welcomed.mode(thread.id)
        if before == mode:
            return
        if before is not None or policy.must_be_set(mode):
            # A sub-agent that is as old as its session has what its conversation has.
            if before is None and mode == policy.mode and not thread.is_conversation:
                return
            await self._set(thread.id, policy.settings(mode))
            if policy.must_break_off(before, mode):
                await self._break_off(thread.id, mode)
        if policy.in_force(mode_of(self._port)) == mode:
            self._welcomed.set_mode(thread.id, mode)

    async def _set(self, thread_id: str, settings: JsonObject) -> None:
        if await self._ask(protocol.change_settings(thread_id, settings)):
            return
        if "permissions" in settings:
            await self._ask(protocol.change_settings(thread_id, without_profile(settings)))

    async def _break_off(self, thread_id: str, mode: str) -> None:
        """End what was begun under the mode before."""
        answer = await self._connection.call(protocol.read_thread(thread_id))
        status = protocol.parse_status(answer["thread"]["status"])
        if status.state in ("busy", "waiting"):
            log.info("codex's turn is broken off: the session is %s now", mode)
            text = (
                f"[Agent Relay] A person set this session to {mode}; the turn that ran was"
                " interrupted for it."
            )
            await self._ask(protocol.interrupt(thread_id))
            await self._ask(protocol.tell_silently(thread_id, text))
        await self._ask(protocol.end_terminals(thread_id))

    async def _ask(self, request: Request) -> bool:
        try:
            await self._connection.call(request)
        except Refused as refusal:
            log.warning("codex refused %s: %s", request[0], refusal)
            return False
        return True
