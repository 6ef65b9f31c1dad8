"""POSTs callbacks: the only module of the server that knows an HTTP client.

Blocks its caller, for at most about a connect's time longer than until `Post.cut`. Neither
retries, follows redirects nor keeps cookies, and reads no body. httpx is imported at the first
POST: a relay that sends no callbacks starts without it.
"""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from relay_server import __version__
from relay_server.domain.callback import AttemptError
from relay_server.settings import is_loopback

if TYPE_CHECKING:
    import httpx

# Less than the time a stop may take: a connect is the one thing that cannot be cut.
_CONNECT_SECONDS: Final = 3.0
# Between two bytes; the whole is bounded by whoever cuts.
_SILENCE_SECONDS: Final = 10.0
_HEADERS: Final = {
    "User-Agent": f"agent-relay/{__version__}",
    "Content-Type": "application/json",
    "Connection": "close",
}


class Outcome(NamedTuple):
    """The status that was answered, or why there is none."""

    status_code: int | None
    error: AttemptError | None


class Post:
    """One POST. `cut` ends it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_cut = False

    def cut(self) -> None:
        """Let it fail now, or as soon as it is connected."""
        with self._lock:
            self.is_cut = True
            if self._socket is not None:
                with suppress(OSError):  # it has ended by itself
                    self._socket.shutdown(socket.SHUT_RDWR)

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Called by httpx with what it does; a connection, plain and again with TLS, is ours."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = details["return_value"].get_extra_info("socket")
            if self.is_cut:
                self.cut()


class WebhookClient:
    """Shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[bool, httpx.Client] = {}

    def send(self, post: Post, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """The status answered, or why there was none."""
        import httpx

        try:
            client = self._client(url)
            with client.stream(
                "POST",
                url,
                headers={**_HEADERS, **headers},
                content=body,
                extensions={"trace": post.trace},
            ) as answer:
                return Outcome(answer.status_code, None)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return Outcome(None, AttemptError.INVALID_URL)
        except httpx.TimeoutException:
            return Outcome(None, AttemptError.TIMEOUT)
        except httpx.TransportError as error:
            return Outcome(None, AttemptError.TIMEOUT if post.is_cut else _why(error))

    def _client(self, url: str) -> "httpx.Client":
        """A proxy from the environment is for the network, never for this machine."""
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        is_near = is_loopback(httpx.URL(url).host)
        with self._lock:
            if is_near not in self._clients:
                self._clients[is_near] = httpx.Client(
                    trust_env=not is_near,
                    timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
                    # A kept connection may end just as it is used, and `Post` would not know it.
                    limits=httpx.Limits(max_keepalive_connections=0),
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                )
            return self._clients[is_near]

    def close(self) -> None:
        """End what is left of the connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _why(error: Exception) -> AttemptError:
    import httpx

    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return AttemptError.TLS_FAILED
    is_connecting = isinstance(error, httpx.ConnectError | httpx.ProxyError)
    return AttemptError.UNREACHABLE if is_connecting else AttemptError.NO_ANSWER


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
