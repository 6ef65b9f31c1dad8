"""The thread of a Codex session without a terminal: nobody else begins it, so the adapter does.

Owns which conversation goes on. Runs on the daemon's event loop.
"""

import logging
from pathlib import Path

from relay_agentd.adapters.codex_connection import CodexConnection, Refused
from relay_launchers.codex import protocol
from relay_launchers.codex.policy import ResumePolicy
from relay_launchers.codex.protocol import Thread

log = logging.getLogger(__name__)


class OwnThread:
    """Begins the conversation, or goes on with it after the server was started again."""

    def __init__(self, conversation: str | None, cwd: Path, policy: ResumePolicy | None) -> None:
        self.conversation = conversation
        self._cwd = str(cwd)
        self._options = policy.thread_options() if policy is not None else {}

    async def open(self, connection: CodexConnection) -> Thread:
        """The thread, loaded and subscribed to. Raises Lost, Refused."""
        answer = None
        if self.conversation is not None:
            try:
                answer = await connection.call(
                    protocol.resume_thread(self.conversation, self._cwd, self._options)
                )
            except Refused as refusal:
                if not protocol.is_unknown_thread(str(refusal)):
                    raise
                log.warning("codex never wrote thread %s down: another begins", self.conversation)
        if answer is None:
            answer = await connection.call(protocol.start_thread(self._cwd, self._options))
        thread = protocol.parse_thread(answer["thread"])
        self.conversation = thread.id
        return thread
