"""/healthz, /metrics, /api/stats, /api/openapi.json, /api/login, /api/logout."""

from typing import Any, Final

from relay_server import __version__
from relay_server.http import schemas, shapes
from relay_server.http.gate import COOKIE
from relay_server.http.operation import (
    OWNER_ONLY,
    READERS,
    Call,
    Operation,
    Reply,
    nothing,
    ok,
)
from relay_server.http.shapes import Shape
from relay_server.metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from relay_server.services.access import Access
from relay_server.services.stats import StatsService

_ATTRIBUTES: Final = "Path=/; HttpOnly; SameSite=Strict"


class ServiceOperations:
    """Handlers of the server itself. `document` is the OpenAPI page, filled in after wiring."""

    def __init__(self, stats: StatsService, access: Access) -> None:
        self._stats = stats
        self._access = access
        self.document: dict[str, Any] = {}

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [*self._looking(), *self._browsers()]

    def _looking(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/healthz",
                name="health",
                summary="Whether the store answers",
                handler=self.health,
                allowed=READERS,
                answers={200: shapes.HEALTH},
                # Probes add what they like to the address.
                query=None,
                is_public=True,
            ),
            Operation(
                method="GET",
                path="/api/stats",
                name="stats",
                summary="Numbers about the running relay",
                handler=lambda _: ok(self._stats.stats()),
                allowed=READERS,
                answers={200: shapes.STATS},
            ),
            Operation(
                method="GET",
                path="/metrics",
                name="metrics",
                summary="The same and more, in Prometheus' text format",
                handler=lambda _: Reply(
                    rendered=self._stats.metrics(), content_type=METRICS_CONTENT_TYPE
                ),
                allowed=READERS,
                answers={200: Shape("Metrics", {"type": "string"})},
                content_type="text/plain",
            ),
            Operation(
                method="GET",
                path="/api/openapi.json",
                name="openapi",
                summary="This page",
                handler=lambda _: ok(self.document),
                allowed=READERS,
                answers={200: Shape("OpenApi", {"type": "object"})},
            ),
        ]

    def _browsers(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/login",
                name="login",
                summary="A token for a cookie, so that a browser's event stream can authenticate",
                handler=self.login,
                allowed=OWNER_ONLY,
                body=schemas.LOGIN,
                answers={204: None},
                problems=("unauthorized",),
                is_public=True,
            ),
            Operation(
                method="POST",
                path="/api/logout",
                name="logout",
                summary="Clear the cookie",
                handler=self.logout,
                allowed=OWNER_ONLY,
                body=schemas.NOTHING,
                answers={204: None},
                is_public=True,
            ),
        ]

    def health(self, call: Call) -> Reply:
        del call
        self._stats.health()
        return ok({"status": "ok", "version": __version__})

    def login(self, call: Call) -> Reply:
        cookie = self._access.log_in(call.body["token"])
        return nothing({"Set-Cookie": f"{COOKIE}={cookie}; {_ATTRIBUTES}"} if cookie else None)

    def logout(self, call: Call) -> Reply:
        del call
        return nothing({"Set-Cookie": f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"})
