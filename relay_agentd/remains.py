"""What is left of a session that nobody watched, and the removal of what a dead one left: the
programs that its own programs left running, and its folder. Runs on the daemon's loop, its slow
parts in threads.
"""

import asyncio
from pathlib import Path
from typing import Final

from relay_agentd.process import find_leftovers, terminate
from relay_agentd.session_folder import remove_session_folder
from relay_agentd.session_state import SessionState
from relay_agentd.store.sessions import SessionRow

_GRACE_SECONDS: Final = 0.5
# What may outlive a provider that was killed: our pipe and hook, and with the commands that run in
# them the shells of Claude Code's tool calls. A host that nobody wrote down names the folder.
_PROGRAMS: Final = ("mcp_pipe.py", "relay_launchers/claude/hook.py", "/shell-snapshots/snapshot-")


def cause_of_death(row: SessionRow) -> str | None:
    """Why a session that was left alone cannot go on; None when it can."""
    if row.state is SessionState.STOPPING:
        return "its end was under way"
    for role, process in row.roles().items():
        if not process.is_alive():
            return f"its {role} (pid {process.pid}) died while no daemon ran"
    return None


async def remove_remains(key: str, folder: Path) -> None:
    """End them, then remove it."""
    leftovers = await asyncio.to_thread(find_leftovers, key, (*_PROGRAMS, str(folder)))
    await terminate(leftovers, grace=_GRACE_SECONDS)
    await asyncio.to_thread(remove_session_folder, folder)
