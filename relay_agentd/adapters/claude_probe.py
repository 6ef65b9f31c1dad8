"""Looks whether the ways into a Claude Code session are open, without putting anything into it.

Owns nothing; runs on the daemon's event loop. The messaging socket takes a connection that ends
without a frame as nothing; the bell is looked at and never rung, because its hook would ask for
mail.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from relay_agentd.adapters.base import Probe
from relay_agentd.adapters.claude_session import ClaudeSession
from relay_agentd.adapters.claude_transport import can_connect
from relay_launchers.claude.hook import BELL_FILE

SOCKET: Final = "messaging socket"
BELL: Final = "doorbell hook"


def absent_ways(session: ClaudeSession | None, socket: str | None) -> Mapping[str, str]:
    """Which ways this session does not have, and why."""
    if session is None:
        reason = "the session has not reported yet"
        return {SOCKET: reason, BELL: reason}
    if socket is None:
        return {SOCKET: "this version of Claude Code has none"}
    if session.holds_socket_messages:
        return {SOCKET: "in this permission mode it would hold messages behind a dialog"}
    return {}


async def probe(session: ClaudeSession | None, socket: str | None, folder: Path) -> Sequence[Probe]:
    """What can be seen from outside."""
    if session is None:
        return [Probe(name="session", ok=False, detail="its SessionStart hook has not reported")]
    found = []
    if socket is not None:
        is_open = await can_connect(socket)
        detail = "somebody listens" if is_open else f"nobody listens on {socket}"
        found.append(Probe(name=SOCKET, ok=is_open, detail=detail))
    return [*found, *await asyncio.to_thread(_files, session, folder)]


def _files(session: ClaudeSession, folder: Path) -> list[Probe]:
    bell = folder / BELL_FILE
    can_ring = os.access(bell if bell.exists() else folder, os.W_OK)
    registered = session.registered()
    transcript = session.transcripts[-1] if session.transcripts else None
    can_read = transcript is not None and os.access(transcript, os.R_OK)
    return [
        Probe(
            name=BELL,
            ok=can_ring,
            detail="the bell can be rung" if can_ring else f"{bell} cannot be written",
        ),
        Probe(
            name="registry",
            ok=registered is not None,
            detail=f"the session says it is {registered.status}"
            if registered
            else "the session does not say how it is doing",
        ),
        Probe(
            name="transcript",
            ok=can_read,
            detail=str(transcript) if can_read else "not written yet: it comes with the first turn",
        ),
    ]
