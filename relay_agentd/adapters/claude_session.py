"""What the adapter knows of one Claude Code session, kept in the session's private folder.

Kept because SessionStart fires once: a daemon that takes a running session over finds here what
its predecessor was told. The file holds the socket's token, hence 0600 in a 0700 folder; it goes
with the folder when the session ends.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from relay_launchers.claude.evidence import Registered, parse_registered

_FILE: Final = "claude-session.json"
_BYPASS: Final = "bypassPermissions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeSession:
    """One conversation in one process."""

    id: str
    cwd: str
    pid: int | None
    config: str
    transcripts: tuple[str, ...] = ()
    """Of this process's conversations, oldest first; the last one is written now."""
    socket: str | None = None
    token: str | None = field(default=None, repr=False)
    bell_only: bool = False
    permission_mode: str | None = None

    @classmethod
    def from_hook(cls, payload: Mapping[str, Any], environment: Mapping[str, str]) -> Self:
        """The session a hook speaks for. Raises: KeyError, the hook did not name it."""
        pid = environment.get("CLAUDE_PID", "")
        transcript = payload.get("transcript_path")
        return cls(
            id=payload["session_id"],
            cwd=str(payload.get("cwd") or "."),
            pid=int(pid) if pid.isdecimal() else None,
            config=_config_folder(environment),
            transcripts=(transcript,) if isinstance(transcript, str) else (),
            socket=environment.get("CLAUDE_CODE_MESSAGING_SOCKET"),
            token=environment.get("CLAUDE_CODE_MESSAGING_TOKEN"),
            bell_only=environment.get("AGENT_RELAY_CLAUDE_INBOUND") == "bell",
            permission_mode=payload.get("permission_mode"),
        )

    def may_become(self, told: Self, *, starts: bool) -> bool:
        """Whether a hook that says `told` belongs to this session.

        Another process may report under our name: a Claude Code that the model started itself has
        the same environment. And the last hooks of a conversation may come after the next began.
        """
        if told.pid not in (None, self.pid) and self.pid is not None:
            return starts and not _is_alive(self.pid)
        return starts or told.id == self.id or not set(told.transcripts) <= set(self.transcripts)

    def updated(self, told: Self) -> Self:
        """This session after another hook; a field the hook left out keeps its value."""
        return replace(
            told,
            pid=told.pid or self.pid,
            transcripts=tuple(dict.fromkeys((*self.transcripts, *told.transcripts))),
            socket=told.socket or self.socket,
            token=told.token or self.token,
            permission_mode=told.permission_mode or self.permission_mode,
        )

    @property
    def holds_socket_messages(self) -> bool:
        """Whether a message by the socket would wait behind a dialog (see `claude/plan.py`)."""
        return self.bell_only or self.permission_mode == _BYPASS

    def registered(self) -> Registered | None:
        """What the session says of itself now; None when it says nothing (any more)."""
        if self.pid is None:
            return None
        try:
            content = Path(self.config, "sessions", f"{self.pid}.json").read_bytes()
        except OSError:
            return None
        entry = parse_registered(content)
        # A stale file of an earlier process with this pid names another conversation.
        return entry if entry is not None and entry.session_id == self.id else None

    def save(self, folder: Path) -> None:
        """Write it down for the next daemon. Raises: OSError."""
        scratch = folder / f"{_FILE}.new"
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)
        scratch.replace(folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What an earlier daemon wrote down; None when there is nothing usable."""
        try:
            stored = json.loads((folder / _FILE).read_bytes())
            return cls(**{**stored, "transcripts": tuple(stored["transcripts"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def learn(
    known: ClaudeSession | None,
    event: str,
    payload: Mapping[str, Any],
    environment: Mapping[str, str],
    folder: Path,
) -> ClaudeSession | None:
    """The session after a hook, written down when it is news; None when the hook speaks for
    another one."""
    try:
        told = ClaudeSession.from_hook(payload, environment)
    except KeyError:
        return None
    if known is not None and not known.may_become(told, starts=event == "SessionStart"):
        return None
    session = known.updated(told) if known is not None else told
    if session != known:
        # The folder goes with the session, possibly under the feet of its last hooks.
        with suppress(OSError):
            session.save(folder)
    return session


def _config_folder(environment: Mapping[str, str]) -> str:
    given = environment.get("CLAUDE_CONFIG_DIR")
    return given or str(Path(environment.get("HOME") or "~").expanduser() / ".claude")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
