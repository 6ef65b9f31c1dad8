"""Which session a conversation of plain Codex is (`install codex`).

Codex runs a conversation in its shared server or in the terminal's own process, and its hooks and
tool servers know only the conversation and that process. A session here is a terminal: it begins
with the first turn of a conversation and ends with the terminal's process, while the shared server,
which is never touched, lives on. Which terminal a conversation of the shared server belongs to is
told by nobody, so it is concluded. Runs on the daemon's loop; owns nothing.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from relay_agentd.errors import ControlRefused
from relay_agentd.joining import described
from relay_agentd.paths import Paths
from relay_agentd.process import (
    ProcessId,
    Running,
    describe,
    environment_of,
    programs_called,
)
from relay_agentd.session import Session
from relay_agentd.session_request import OpenRequest
from relay_agentd.store.sessions import SessionKind
from relay_agentd.supervisor import Supervisor
from relay_launchers.codex.arguments import parse_arguments

PROVIDER: Final = "codex"
# How the tools of such sessions name themselves: by the server's process.
TOOLS_PREFIX: Final = "codex:"
# A terminal begins a conversation as soon as its composer appears.
_COMPOSER_SECONDS: Final = 20.0


class PlainCodex:
    """See the module."""

    def __init__(self, supervisor: Supervisor, paths: Paths, default_rig: str | None) -> None:
        self._supervisor = supervisor
        self._paths = paths
        self._default_rig = default_rig

    def join(self, request: Mapping[str, Any]) -> Session:
        """The session of a conversation, begun when there is none yet. Raises: ControlRefused."""
        whole = described(request, self._paths)
        server = describe(ProcessId.parse(whole["process"]))
        if server is None:
            raise ControlRefused("no_process", "Codex's process is gone")
        if self._is_ours(server.process):
            raise ControlRefused("ours", "this session has its own way to the relay")
        conversation = str(request.get("conversation"))
        known = self.session_of(conversation)
        if known is not None:
            return known
        terminal = self._terminal(server, conversation, str(request.get("cwd")))
        known = self._session_on(terminal.process)
        if known is not None:
            return known
        return self._begin(whole, terminal)

    def session_of(self, conversation: str) -> Session | None:
        """The session that has this conversation on its terminal now."""
        for session in self._joined():
            if session.row.provider_session_id == conversation:
                return session
        return None

    def _begin(self, request: Mapping[str, Any], terminal: Running) -> Session:
        environment = {
            name: text
            for name, text in environment_of(terminal.process).items()
            if name.startswith("AGENT_RELAY_")
        }
        told = {**request, "environment": environment or request.get("environment") or {}}
        whole = {**told, "key": secrets.token_hex(8), "arguments": list(terminal.argv[1:])}
        for name in ("approval", "label", "tags", "capabilities", "channels", "rig"):
            whole.pop(name, None)
        process = {"pid": terminal.process.pid, "created": terminal.process.created}
        whole = described({**whole, "process": process}, self._paths)
        joining = OpenRequest.parse(whole, self._default_rig, SessionKind.JOINED)
        self._supervisor.join(joining, process)
        return self._supervisor.find(joining.key)

    def _terminal(self, server: Running, conversation: str, cwd: str) -> Running:
        """The process that a person sees the conversation in; the server's own where that is it,
        or where no terminal can be found."""
        if "app-server" not in server.argv:
            return server
        begun = _begun_at(conversation)
        taken = [each.row.provider_process for each in self._joined()]
        terminals = [each for each in programs_called("codex") if _is_terminal(each)]
        free = [each for each in terminals if each.process not in taken]

        def age(terminal: Running) -> float:
            return begun - terminal.started_at

        own = [each for each in free if 0 <= age(each) + 1 <= _COMPOSER_SECONDS]
        here = [each for each in terminals if each.cwd == cwd]
        # Its own first conversation; else /new in one of those here; else one resumed.
        for choice in (own, [each for each in here if each not in free], here, free, terminals):
            if choice:
                return min(choice, key=lambda each: (each.cwd != cwd, abs(age(each))))
        return server

    def _is_ours(self, server: ProcessId) -> bool:
        return any(
            server in (session.row.helper, session.row.provider_process)
            for session in self._supervisor.sessions()
            if session.row.kind is not SessionKind.JOINED
        )

    def _session_on(self, terminal: ProcessId) -> Session | None:
        for session in self._joined():
            if session.row.provider_process == terminal:
                return session
        return None

    def _joined(self) -> list[Session]:
        return [
            session
            for session in self._supervisor.sessions()
            if session.row.kind is SessionKind.JOINED and session.row.provider == PROVIDER
        ]


def conversations_of(call: Mapping[str, Any]) -> list[str]:
    """The conversations a tool call may be of, by what Codex says beside it: a sub-agent's is that
    of the session around it."""
    return [str(call[name]) for name in ("threadId", "sessionId") if call.get(name)]


def _is_terminal(program: Running) -> bool:
    return program.has_terminal and parse_arguments(program.argv[1:]).is_session


def _begun_at(conversation: str) -> float:
    """A conversation's id begins with the time in milliseconds (UUIDv7); 0: it has none."""
    try:
        return int(conversation.replace("-", "")[:12], 16) / 1000
    except ValueError:
        return 0.0
