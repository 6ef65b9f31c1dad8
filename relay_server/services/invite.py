"""Where another machine reaches this relay, as far as this one can tell. Pure but for `host`."""

from typing import NamedTuple

from relay_server import host
from relay_server.domain.integration import is_callback_url
from relay_server.errors import InvalidRequest
from relay_server.settings import WILDCARDS, Settings


class Place(NamedTuple):
    """An address for the invitation, and what the person should know of it."""

    url: str
    warnings: list[str]


def reachable_at(settings: Settings, url: str | None) -> Place:
    """`url` when the person knows better. Raises: InvalidRequest."""
    if url is not None:
        if not is_callback_url(url):
            raise InvalidRequest("--url: expected http://... or https://...")
        return Place(url.rstrip("/"), [])
    if settings.is_loopback:
        warning = (
            f"the relay listens on {settings.host} only: other machines need another address"
            " (HOST and AGENT_RELAY_TOKEN, or a tunnel, and then --url)"
        )
        return Place(_url("localhost", settings.port), [warning])
    if settings.host not in WILDCARDS:
        return Place(_url(settings.host, settings.port), [])
    addresses = host.outward_addresses() or ["localhost"]
    warnings = []
    if len(addresses) > 1:
        others = ", ".join(addresses[1:])
        warnings.append(f"this machine is also {others}: --url chooses another address")
    return Place(_url(addresses[0], settings.port), warnings)


def _url(name: str, port: int) -> str:
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
