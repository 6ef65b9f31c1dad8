"""Checks of `doctor`: is there a relay, does it know us, does its clock agree with ours?"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from relay_agentd import __version__
from relay_agentd import relay_calls as calls
from relay_agentd.clock import now
from relay_agentd.doctor import Check, Patient, minor, ok, problem, warning
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import RelayClient
from relay_agentd.relay_url import is_local
from relay_server.wire import TokenScope

# The relay tells how long it runs in whole seconds.
_SKEW_SECONDS: Final = 5.0


def check(patient: Patient) -> Iterator[Check]:
    """Everything that the relay can answer."""
    settings = patient.settings
    if settings is None:
        yield warning("relay", "not looked at: the settings do not say where it is")
        return
    with RelayClient(settings.url, settings.token) as client:
        try:
            version = str(client.request(calls.health()).get("version"))
        except RelayUnreachable as error:
            start = "relay-agentd up" if is_local(settings.url) else "start it there"
            reason = re.sub(r"\[Errno -?\d+\] ", "", str(error))
            yield problem("relay", reason, f"{start}, or set AGENT_RELAY_URL")
            return
        except RelayRefused as refusal:
            yield problem("relay", str(refusal), "set AGENT_RELAY_URL to the relay's address")
            return
        patient.relay_version = version
        yield _version(settings.url, version)
        yield from _known(client, has_token=settings.token is not None)


def _version(url: str, version: str) -> Check:
    if minor(version) == minor(__version__):
        return ok("relay", f"{url} answers, version {version}")
    detail = f"{url} has version {version}, this machine {__version__}"
    return warning("relay", detail, "upgrade the older one: pip install -U agent-relay")


def _known(client: RelayClient, *, has_token: bool) -> Iterator[Check]:
    try:
        stats = client.request(calls.stats())
        scope = _scope(client)
    except RelayRefused as refusal:
        said = "the token" if has_token else "no token is set, and this"
        detail = f"{said} is refused: {refusal}"
        yield problem("token", detail, "set AGENT_RELAY_TOKEN to one of the relay's tokens")
        return
    except RelayUnreachable as error:
        yield problem("token", str(error), "look at the relay's log")
        return
    if scope is TokenScope.READ:
        detail = "it may only read: sessions cannot register"
        yield problem("token", detail, "relay-server token create NAME --scope agent")
    else:
        shown = f"accepted, scope {scope}" if has_token else f"none is needed here (scope {scope})"
        yield ok("token", shown)
    yield _clock(stats)


def _scope(client: RelayClient) -> TokenScope:
    """What we may do, tried with calls that change nothing. Raises: RelayRefused."""
    for scope, call in (
        (TokenScope.ADMIN, calls.Call(method="GET", path="/api/tokens")),
        (TokenScope.AGENT, calls.Call(method="POST", path="/api/heartbeats", body={"agents": []})),
    ):
        try:
            client.request(call)
        except RelayRefused as refusal:
            if refusal.status != 403:
                raise
        else:
            return scope
    return TokenScope.READ


def _clock(stats: dict[str, Any]) -> Check:
    started = datetime.fromisoformat(stats["startedAt"]).timestamp()
    skew = now() - (started + stats["uptimeSeconds"])
    if abs(skew) < _SKEW_SECONDS:
        return ok("clock", "the relay's and this machine's agree")
    way = "ahead of" if skew > 0 else "behind"
    detail = f"this machine's clock is {abs(skew):.0f} s {way} the relay's"
    return warning("clock", detail, "switch time synchronisation (NTP) on")
