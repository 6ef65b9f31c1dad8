"""What the tools of a session do to this machine and the relay: `ToolBackend` for the daemon.

Owns nothing: messages go through the outbox, mail comes from the store, the rest is one call to
the relay. Runs on the daemon's loop.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.outbox import Outbox
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_link import RelayLink
from relay_agentd.session_state import SessionState
from relay_agentd.session_tools import Mail, Message
from relay_agentd.store import Store

# What a tool's answer may cost more than the call itself: who the receiver is.
_GARNISH_SECONDS: Final = 1.0
_ENDED: Final = frozenset({SessionState.EXITED, SessionState.FATAL})


class DaemonToolBackend:
    """See the module and `ToolBackend`."""

    def __init__(
        self, *, client: AsyncRelayClient, outbox: Outbox, store: Store, link: RelayLink
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._store = store
        self._link = link

    def agent_id(self, session_key: str) -> str | None:
        """The agent this session speaks as; None before its conversation and after its end."""
        row = self._store.sessions.find(session_key)
        return None if row is None or row.state in _ENDED else row.agent_id

    async def submit(
        self, session_key: str, message: Mapping[str, Any], *, key: str
    ) -> Message | None:
        """Send by way of the outbox. Raises: RelayRefused."""
        signed = {**message, "from": self.agent_id(session_key)}
        return await self._outbox.submit(signed, idempotency_key=key)

    async def claim(self, session_key: str, message_id: int) -> Message:
        """Claim, or renew a claim. Raises: RelayRefused, RelayUnreachable."""
        agent_id = str(self.agent_id(session_key))
        call = calls.claim(message_id, agent_id, instance=session_key)
        message: Message = await self._client.request(call)
        return message

    async def complete(self, session_key: str, message_id: int, result: str | None) -> Message:
        """Complete a claimed message. Raises: RelayRefused, RelayUnreachable."""
        agent_id = str(self.agent_id(session_key))
        call = calls.complete(message_id, agent_id, result=result, instance=session_key)
        message: Message = await self._client.request(call)
        return message

    async def agents(self, query: str | None) -> Sequence[Mapping[str, Any]]:
        """All agents, or those that match. Raises: RelayRefused, RelayUnreachable."""
        listed = await self._client.request(calls.agents(q=query))
        agents: list[Mapping[str, Any]] = listed["agents"]
        return agents

    async def agent(self, agent_id: str) -> Mapping[str, Any] | None:
        """One agent, if the relay tells at once."""
        with contextlib.suppress(RelayRefused, RelayUnreachable, TimeoutError):
            async with asyncio.timeout(_GARNISH_SECONDS):
                agent: Mapping[str, Any] = await self._client.request(calls.agent(agent_id))
                return agent
        return None

    def take_mail(self, session_key: str, limit: int, *, key: str) -> Mail:
        """What the session has not been offered yet; it counts as read."""
        messages = self._store.mail.take(session_key, limit, key)
        self._link.receipts_changed()
        return Mail(
            messages=messages,
            left=len(self._store.mail.waiting(session_key)),
            on_the_way=self._store.mail.on_the_way(session_key),
        )
