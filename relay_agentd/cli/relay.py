"""The relay, as a command reaches it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay_agentd.cli import machine

if TYPE_CHECKING:  # httpx costs a tenth of a second that --help need not pay
    from relay_agentd.relay_client import RelayClient


@contextmanager
def relay() -> Iterator["RelayClient"]:
    """A client of the relay in the settings. Raises: SettingsInvalid."""
    from relay_agentd.relay_client import RelayClient

    settings = machine.settings()
    with RelayClient(settings.url, settings.token) as client:
        yield client
