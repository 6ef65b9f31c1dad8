"""Watches the processes of sessions, and tells of the first that is gone. Owns one task a process;
signals none. Runs on the daemon's loop."""

import asyncio
from collections.abc import Callable

from relay_agentd.process import ProcessId, wait_gone
from relay_agentd.store.sessions import SessionRow


class Watches:
    """See the module."""

    def __init__(self, gone: Callable[[str, str], object]) -> None:
        """`gone` is told a session's key and which process of it is not there any more."""
        self._gone = gone
        self._tasks: dict[str, dict[str, asyncio.Task[None]]] = {}

    def watch(self, row: SessionRow) -> None:
        """All processes of a session that are known by now; those watched already go on."""
        watched = self._tasks.setdefault(row.key, {})
        for role, process in row.roles().items():
            if role not in watched:
                watched[role] = asyncio.create_task(
                    self._watch(row.key, role, process), name=f"{role} of session {row.key}"
                )

    def drop(self, key: str) -> None:
        """The session is ending by now."""
        for task in self._tasks.pop(key, {}).values():
            task.cancel()

    async def stop(self) -> None:
        """Look away from all."""
        tasks = [task for watched in self._tasks.values() for task in watched.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, key: str, role: str, process: ProcessId) -> None:
        await wait_gone(process)
        self._gone(key, f"its {role} (pid {process.pid}) is gone")
