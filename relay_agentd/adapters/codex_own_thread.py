"""The thread of a Codex session without a terminal: nobody else begins it, so the adapter does.

Owns which conversation goes on. Runs on the daemon's event loop.
"""

import logging

from relay_agentd.adapters.base import SessionPort
from relay_agentd.adapters.codex_connection import CodexConnection, Refused
from relay_agentd.adapters.codex_policy import mode_of
from relay_launchers.codex import protocol
from relay_launchers.codex.policy import SessionPolicy
from relay_launchers.codex.protocol import Thread

log = logging.getLogger(__name__)


class OwnThread:
    """Begins the conversation, or goes on with it after the server was started again."""

    def __init__(
        self, conversation: str | None, port: SessionPort, policy: SessionPolicy | None
    ) -> None:
        self.conversation = conversation
        self._port = port
        self._policy = policy

    async def open(self, connection: CodexConnection) -> tuple[Thread, bool]:
        """The thread, loaded and subscribed to; is it the one of before? Raises Lost, Refused."""
        cwd = str(self._port.cwd)
        options = self._policy.thread_options(mode_of(self._port)) if self._policy else {}
        answer = None
        if self.conversation is not None:
            try:
                answer = await connection.call(
                    protocol.resume_thread(self.conversation, cwd, options)
                )
            except Refused as refusal:
                if not protocol.is_unknown_thread(str(refusal)):
                    raise
                log.warning("codex never wrote thread %s down: another begins", self.conversation)
        is_resumed = answer is not None
        if answer is None:
            answer = await connection.call(protocol.start_thread(cwd, options))
        thread = protocol.parse_thread(answer["thread"])
        self.conversation = thread.id
        return thread, is_resumed
