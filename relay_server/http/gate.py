"""What every request passes: Host, Origin, token; what every answer carries; what is counted.

One middleware, because each costs every request.
"""

import re
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import falcon

from relay_server import __version__, host
from relay_server.domain.access import NOBODY, Principal
from relay_server.errors import Forbidden, MethodNotAllowed, Unauthorized, WrongHost
from relay_server.ids import new_request_id
from relay_server.metrics import Metrics
from relay_server.services.access import Access
from relay_server.settings import LOOPBACK_NAMES, WILDCARDS, Settings
from relay_server.wire import TOKEN_HEADER, VERSION_HEADER

COOKIE: Final = "agent_relay_session"
PRINCIPAL: Final = "relay.principal"
# Set by whoever carries the request out: its time says nothing about the relay.
WAITS: Final = "relay.waits"
_STARTED: Final = "relay.started"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/]*?)\.?)(?::[0-9]{0,5})?")
# Names that browsers and clients may remember as good; more would be a client playing.
_MOST_REMEMBERED: Final = 1000

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
# Each header costs every answer a few microseconds: data carries only what matters to data.
_DATA_HEADERS: Final = {
    VERSION_HEADER: __version__,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_PAGE_HEADERS: Final = {
    VERSION_HEADER: __version__,
    "X-Content-Type-Options": "nosniff",
    # Asked for again each time; the ETag makes that cheap.
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
}


class Gate:
    """Stateless but for remembered Host headers. `is_public`: paths that need no token."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        metrics: Metrics,
        is_public: Callable[[str], bool],
    ) -> None:
        self._metrics = metrics
        self._access = access
        self._is_public = is_public
        self._hosts = _allowed_hosts(settings)
        self._good_hosts: set[str] = set()

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Raises: WrongHost, Forbidden, Unauthorized."""
        environ = request.env
        environ[_STARTED] = perf_counter()
        # At once, so that a refusal carries them too.
        is_data = request.path.startswith("/api/")
        response.set_headers(_DATA_HEADERS if is_data else _PAGE_HEADERS)
        response.set_header("X-Request-Id", new_request_id())
        asked_host = environ.get("HTTP_HOST", "")
        if asked_host not in self._good_hosts:
            self._check_host(asked_host)
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and request.method not in _SAFE:
            _check_origin(origin, asked_host)
        environ[PRINCIPAL] = self._principal(request)

    def process_resource(
        self, request: falcon.Request, response: falcon.Response, resource: Any, params: Any
    ) -> None:
        """falcon answers OPTIONS by itself, and calls methods it does not know malformed."""
        del response, params
        if request.method not in _METHODS and request.method != "HEAD":
            allowed = [method for method in _METHODS if hasattr(resource, f"on_{method.lower()}")]
            raise MethodNotAllowed(
                "The path has no such method.", headers={"Allow": ", ".join(allowed)}
            )

    def process_response(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: Any,
        req_succeeded: bool,
    ) -> None:
        """Count it, whatever became of it."""
        del resource, req_succeeded
        environ = request.env
        seconds = None
        if response.stream is None and WAITS not in environ:
            seconds = perf_counter() - environ[_STARTED]
        self._metrics.answered(request.method, request.uri_template, response.status_code, seconds)

    def _check_host(self, host: str) -> None:
        if _host_name(host) not in self._hosts:
            raise WrongHost(
                "This server does not answer to that host name; AGENT_RELAY_ALLOWED_HOSTS adds it."
            )
        if len(self._good_hosts) < _MOST_REMEMBERED:
            self._good_hosts.add(host)

    def _principal(self, request: falcon.Request) -> Principal:
        """Who calls. Raises: Unauthorized."""
        path = request.path
        if not (path.startswith("/api") or path == "/metrics") or self._is_public(path):
            return NOBODY
        token = _given_token(request)
        # First, because a server without a token of its own takes everyone else for its owner.
        if token is None and "HTTP_COOKIE" in request.env:
            for cookie in request.get_cookie_values(COOKIE) or []:
                found = self._access.identify_cookie(cookie)
                if found is not None:
                    return found
        found = self._access.identify(token)
        if found is None:
            raise Unauthorized(
                "A token is needed."
                if token is None
                else "The token is wrong, has expired, or was revoked."
            )
        return found


def _given_token(request: falcon.Request) -> str | None:
    header = request.get_header(TOKEN_HEADER)
    if header is not None:
        return header
    authorization = request.get_header("Authorization")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_origin(origin: str, host: str) -> None:
    scheme, separator, place = origin.partition("://")
    if not separator or scheme not in ("http", "https") or place.lower() != host.lower():
        raise Forbidden("A page of another origin may not change anything here.")


def _host_name(host: str) -> str | None:
    """The name without port, brackets and final dot; None when it is no host at all."""
    found = _HOST.fullmatch(host.strip().lower())
    return (found[1] or found[2]) if found else None


def _allowed_hosts(settings: Settings) -> frozenset[str]:
    hosts = set(LOOPBACK_NAMES) | set(settings.allowed_hosts)
    if settings.host in WILDCARDS:
        # Bound to every address: each of them is one the server was bound to.
        hosts |= host.own_names()
    else:
        hosts.add(settings.host.lower())
    return frozenset(hosts)
