"""Carries `Call` values out over HTTP: the only module that knows httpx.

`RelayClient` blocks (command line, scripts), `AsyncRelayClient` belongs to the daemon's event
loop. Both raise the same two errors: `RelayUnreachable` (no answer) and `RelayRefused` (a problem
object, by its code). Neither retries: who calls knows whether a call may be repeated.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from relay_agentd import __version__
from relay_agentd.clock import boottime, now
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_calls import Call
from relay_agentd.relay_url import is_local
from relay_agentd.sse import EventParser, ServerEvent

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0
# The relay sends a comment on an open stream every 15 s. A stream whose machine or network went
# away looks alive for ever; opening another one for a comment that is only late costs nothing.
STREAM_SILENCE_SECONDS = 22.5


class RelayClient:
    """A blocking client of one relay. Use it as a context manager."""

    def __init__(
        self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers=_headers(token),
            trust_env=_trusts_environment(url),
            transport=transport,
        )

    def request(self, call: Call) -> Any:
        """Carry out one call and return its JSON. Raises: RelayUnreachable, RelayRefused."""
        with _reaching(self.url):
            response = self._http.request(**_arguments(call, ANSWER_SECONDS + call.wait))
        return _content(response, self.url)

    @contextmanager
    def stream(self, call: Call) -> Iterator[Iterator[ServerEvent]]:
        """Open a stream; its events just end when the relay ends the connection in order.

        Raises: RelayUnreachable, RelayRefused.
        """
        arguments = _arguments(call, STREAM_SILENCE_SECONDS)
        with _reaching(self.url), self._http.stream(**arguments) as response:
            if response.is_error:
                response.read()
                _content(response, self.url)
            yield _parsed(response.iter_bytes())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncRelayClient:
    """The same for an event loop. Use it as an async context manager."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._token = token
        self._transport = transport
        self._http = self._new_client()
        self._relay_ahead: float | None = None
        """The relay's clock minus ours that never jumps."""

    async def request(self, call: Call) -> Any:
        """Carry out one call and return its JSON. Raises: RelayUnreachable, RelayRefused."""
        with _reaching(self.url):
            response = await self._http.request(**_arguments(call, ANSWER_SECONDS + call.wait))
        self._read_clock(response)
        return _content(response, self.url)

    def relay_time(self) -> float:
        """What time it is at the relay: whatever the relay gives a date to expires by its clock,
        be ours right or wrong. Until it has answered once, ours is as good a guess as any."""
        return now() if self._relay_ahead is None else boottime() + self._relay_ahead

    async def renew(self) -> None:
        """Give up all connections: after a time of which nobody knows what became of them."""
        old, self._http = self._http, self._new_client()
        await old.aclose()

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """Open a stream; its events just end when the relay ends the connection in order.

        Raises: RelayUnreachable, RelayRefused.
        """
        arguments = _arguments(call, STREAM_SILENCE_SECONDS)
        with _reaching(self.url):
            async with self._http.stream(**arguments) as response:
                if response.is_error:
                    await response.aread()
                    _content(response, self.url)
                yield _aparsed(response.aiter_bytes())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers=_headers(self._token),
            trust_env=_trusts_environment(self.url),
            transport=self._transport,
        )

    def _read_clock(self, response: httpx.Response) -> None:
        try:
            told = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        self._relay_ahead = told.timestamp() - boottime()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _headers(token: str | None) -> dict[str, str]:
    headers = {"User-Agent": f"relay-agentd/{__version__}", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _trusts_environment(url: str) -> bool:
    """A proxy from the environment is for the network, never for a relay on this machine."""
    return not is_local(url)


def _arguments(call: Call, read_seconds: float) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "params": call.query,
        "json": call.body,
        "headers": dict(call.headers),
        "timeout": httpx.Timeout(CONNECT_SECONDS, read=read_seconds),
    }


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.InvalidURL as error:
        raise RelayUnreachable(url, str(error)) from error
    except httpx.HTTPError as error:
        raise RelayUnreachable(url, str(error) or type(error).__name__) from error


def _content(response: httpx.Response, url: str) -> Any:
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        content = response.json()
    except (ValueError, UnicodeDecodeError):
        content = None
    # Every answer of a relay is an object.
    if response.is_success and isinstance(content, Mapping):
        return content
    if isinstance(content, Mapping) and "code" in content:
        retry_after = response.headers.get("Retry-After", "")
        wait = {"retryAfterSeconds": int(retry_after)} if retry_after.isdecimal() else {}
        raise RelayRefused(str(content["code"]), response.status_code, {**content, **wait})
    detail = f"{url} answered {response.status_code} and not as a relay does"
    raise RelayRefused("not_a_relay", response.status_code, {"detail": detail})


def _parsed(chunks: Iterator[bytes]) -> Iterator[ServerEvent]:
    parser = EventParser()
    for chunk in chunks:
        yield from parser.feed(chunk)


async def _aparsed(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    parser = EventParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
