"""Numbers about the running relay, and whether it works."""

from relay_server import __version__
from relay_server.clock import to_rfc3339
from relay_server.services import render
from relay_server.services.core import Core
from relay_server.store import agents, approvals, machines, messages, tasks

_DAY_MS = 24 * 3600 * 1000


class StatsService:
    """Thread-safe; remembers when it started."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._started_at = core.clock.now_ms()

    def health(self) -> None:
        """Raises: Unavailable when the store does not answer."""
        with self._core.database.read() as reader:
            reader.one("SELECT 1 FROM agents LIMIT 1")

    def stats(self) -> render.Json:
        """The contract's /api/stats."""
        core = self._core
        now = core.clock.now_ms()
        with core.database.read() as reader:
            by_status = agents.count_by_status(reader)
            counted = messages.counts(reader, now - _DAY_MS)
            by_task_status = tasks.count_by_status(reader)
            pending = approvals.count_pending(reader, now)
            known, online = machines.counts(reader)
        total = sum(by_status.values())
        offline = by_status.get("offline", 0)
        return {
            "version": __version__,
            "startedAt": to_rfc3339(self._started_at),
            "uptimeSeconds": (now - self._started_at) // 1000,
            "agents": {
                "total": total,
                "online": total - offline,
                "busy": by_status.get("busy", 0),
                "idle": by_status.get("idle", 0),
                "offline": offline,
            },
            "messages": counted,
            "tasks": {"byStatus": by_task_status},
            "approvals": {"pending": pending},
            "machines": {"total": known, "online": online},
            "streams": {"open": core.slots.streams, "limit": core.slots.max_streams},
            "database": {"engine": "sqlite", "bytes": core.database.size()},
        }
