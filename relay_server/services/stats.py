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

    def metrics(self) -> bytes:
        """The Prometheus text: what was counted so far, and what is now."""
        core = self._core
        stats = self.stats()
        agents_now, machines_now = stats["agents"], stats["machines"]
        waiting = agents_now["online"] - agents_now["busy"] - agents_now["idle"]
        offline = machines_now["total"] - machines_now["online"]
        return core.metrics.render(
            {
                "agents": {
                    **{status: agents_now[status] for status in ("idle", "busy", "offline")},
                    "waiting": waiting,
                },
                "machines": {"online": machines_now["online"], "offline": offline},
                "tasks": stats["tasks"]["byStatus"],
                "messages": stats["messages"]["total"],
                "messages_unclaimed": stats["messages"]["unclaimed"],
                "approvals_pending": stats["approvals"]["pending"],
                "streams": stats["streams"]["open"],
                "streams_limit": stats["streams"]["limit"],
                "parked_requests": core.slots.parked,
                "database_bytes": stats["database"]["bytes"],
                "start_time_seconds": self._started_at / 1000,
            }
        )

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
