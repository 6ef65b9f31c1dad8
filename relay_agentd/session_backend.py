"""What the daemon does for the tools of its sessions (`session_tools.ToolBackend`).

Owns nothing: it joins the session table, the outbox, the inbox and the relay. Runs on the
daemon's loop.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.errors import ControlRefused, RelayRefused, RelayUnreachable
from relay_agentd.outbox import Outbox
from relay_agentd.plain_codex import TOOLS_PREFIX, PlainCodex, conversations_of
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_link import RelayLink
from relay_agentd.session_tools import Mail, Message, Task
from relay_agentd.store.mail import MailStore
from relay_agentd.supervisor import Supervisor

# A nicety in an answer is not worth a longer wait.
_GLANCE_SECONDS: Final = 1.0
_LONGEST_NAME: Final = 60


class SessionBackend:
    """See the module."""

    def __init__(
        self,
        supervisor: Supervisor,
        outbox: Outbox,
        mail: MailStore,
        client: AsyncRelayClient,
        link: RelayLink,
        plain_codex: PlainCodex,
    ) -> None:
        self._supervisor = supervisor
        self._outbox = outbox
        self._mail = mail
        self._client = client
        self._link = link
        self._plain_codex = plain_codex

    def session_of(self, session_key: str, call: Mapping[str, Any]) -> str:
        """The session a tool call is of, by what the client says beside the call."""
        if session_key.startswith(TOOLS_PREFIX):
            for conversation in conversations_of(call):
                if session := self._plain_codex.session_of(conversation):
                    return session.key
        return session_key

    def agent_id(self, session_key: str) -> str | None:
        """The agent this session speaks as."""
        try:
            return self._supervisor.find(session_key).row.agent_id
        except ControlRefused:
            return None

    async def submit(
        self, session_key: str, message: Mapping[str, Any], *, key: str
    ) -> Message | None:
        """Send as the session's agent; None: queued. Raises: RelayRefused, OutboxFull."""
        agent_id = self.agent_id(session_key) or ""
        said = self._addressed(agent_id, {**message, "from": agent_id})
        return await self._outbox.submit(said, idempotency_key=key)

    async def claim(self, session_key: str, message_id: int, *, key: str) -> Message:
        """Claim a message; claiming again renews. Raises: RelayRefused, RelayUnreachable."""
        del key
        agent_id = self.agent_id(session_key) or ""
        number = self._number_at_relay(agent_id, message_id)
        return await self._object(calls.claim(number, agent_id, instance=session_key))

    async def complete(
        self, session_key: str, message_id: int, result: str | None, *, key: str
    ) -> Message:
        """Complete a claimed message. Raises: RelayRefused, RelayUnreachable."""
        agent_id = self.agent_id(session_key) or ""
        number = self._number_at_relay(agent_id, message_id)
        call = calls.complete(
            number, agent_id, result=result, instance=session_key, idempotency_key=key
        )
        return await self._object(call)

    async def claim_task(self, session_key: str, task_id: int) -> Task:
        """Claim a task; claiming again renews. Raises: RelayRefused, RelayUnreachable."""
        agent_id = self.agent_id(session_key) or ""
        return await self._object(calls.claim_task(task_id, agent_id, instance=session_key))

    async def update_task(self, session_key: str, task_id: int, fields: Mapping[str, Any]) -> Task:
        """Report on a claimed task; its end again is harmless.

        Raises: RelayRefused, RelayUnreachable.
        """
        agent_id = self.agent_id(session_key) or ""
        try:
            return await self._object(
                calls.set_task_status(task_id, agent_id, fields, instance=session_key)
            )
        except RelayRefused as refusal:
            if refusal.code != "invalid_transition":
                raise
            task = await self._object(calls.task(task_id))
            if (task["status"], task["claimedBy"]) != (fields["status"], agent_id):
                raise
            return task  # the first answer got lost

    async def agents(self, query: str | None) -> Sequence[Mapping[str, Any]]:
        """All agents, or those that match. Raises: RelayRefused, RelayUnreachable."""
        answer = await self._object(calls.agents(q=query))
        agents: Sequence[Mapping[str, Any]] = answer["agents"]
        return agents

    async def agent(self, agent_id: str) -> Mapping[str, Any] | None:
        """One agent; None when that cannot be had at once."""
        try:
            async with asyncio.timeout(_GLANCE_SECONDS):
                return await self._object(calls.agent(agent_id))
        except (TimeoutError, RelayRefused, RelayUnreachable):
            return None

    def take_mail(self, session_key: str, limit: int, *, key: str) -> Mail:
        """What waits, oldest first; it counts as read from now on."""
        messages = self._mail.take(session_key, limit, key, self._link.relay_time())
        self._link.receipts_changed()
        return Mail(
            messages=messages,
            left=len(self._mail.waiting(session_key, self._link.relay_time())),
            on_the_way=self._mail.on_the_way(session_key),
        )

    def unnoticed(self, session_key: str) -> int | None:
        """Mail that waits until the session asks; None where it does not have to."""
        try:
            session = self._supervisor.find(session_key)
        except ControlRefused:
            return None
        return (
            len(self._mail.waiting(session_key, self._link.relay_time()))
            if session.fetches_mail
            else None
        )

    def introduced(self, session_key: str, client: Mapping[str, Any]) -> None:
        """An MCP client that is a session by itself goes by its own name; the same client in the
        same folder is the same agent again, a second one at the same time another."""
        try:
            session = self._supervisor.find(session_key)
        except ControlRefused:
            # The tools of a plain Codex, which find their session with each call.
            return
        if not session.fetches_mail or session.row.agent_id is not None:
            return
        name = str(client.get("name") or "mcp")[:_LONGEST_NAME]
        if session.row.rig == session.row.provider:
            session.change(rig=name)
        taken = {each.row.provider_session_id for each in self._supervisor.sessions()}
        numbers = (f"mcp {name} {session.cwd} {number}" for number in itertools.count(1))
        conversation = next(each for each in numbers if each not in taken)
        meta = {"client": name, "clientVersion": str(client.get("version") or "")[:_LONGEST_NAME]}
        session.opened(conversation, cwd=session.cwd, meta=meta)

    def _addressed(self, agent_id: str, message: Message) -> Message:
        """A reply knows whom it is for without the relay, as far as this machine does."""
        number = message.get("replyTo")
        if number is None or "to" in message:
            return message
        found = self._mail.find(agent_id, number)
        if found is None and number < 0:
            raise _no_such_message(number)
        # What came from elsewhere may have a sender that only the relay can answer.
        if found is None or not (number < 0 or self._link.has(str(found[0]["from"]))):
            return message
        return {**message, "to": found[0]["from"]}

    def _number_at_relay(self, agent_id: str, number: int) -> int:
        """What the relay calls a message. Raises: RelayUnreachable, RelayRefused."""
        if number > 0:
            return number
        found = self._mail.find(agent_id, number)
        if found is None:
            raise _no_such_message(number)
        if found[1] is None:
            raise RelayUnreachable(self._client.url, f"it does not have message {number} yet")
        return found[1]

    async def _object(self, call: calls.Call) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await self._client.request(call)
        return answer


def _no_such_message(number: int) -> RelayRefused:
    return RelayRefused("message_not_found", 404, {"detail": f"there is no message {number}"})
