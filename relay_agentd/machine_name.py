"""Settling what this machine is called at the relay: once, at the daemon's first start.

It is the host name, unless another machine is online under that at the relay just then; kept in
the state folder from then on, so that a machine that moves network or is renamed keeps its
identity and its agents theirs. Two machines of one name that both start while the relay is away
are not told apart. Runs on the daemon's loop.
"""

import asyncio
import logging
import platform
from pathlib import Path
from typing import Final

from relay_agentd import relay_calls as calls
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.identity import another_name, host_name, keep_machine_id, kept_machine_id
from relay_agentd.relay_client import AsyncRelayClient

log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 3.0


async def settle_machine_name(file: Path, client: AsyncRelayClient, *, is_new: bool) -> str:
    """The name. A machine that is not `is_new` may have agents at the relay, by its host name."""
    kept = kept_machine_id(file)
    if kept is not None:
        return kept
    name = host_name()
    if is_new:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                name = await _free_name(client, name)
        except (TimeoutError, RelayUnreachable, RelayRefused) as error:
            log.info("this machine is called %s, unchecked: %s", name, error)
    keep_machine_id(file, name)
    return name


async def _free_name(client: AsyncRelayClient, name: str) -> str:
    try:
        other = await client.request(calls.machine(name))
    except RelayRefused:
        return name
    if other.get("status") != "online":
        # Ourselves, before our state was removed.
        return name
    different = another_name(name)
    try:
        # A token for one machine knows only that one's name.
        await client.request(calls.put_machine(different, {"hostname": platform.node()}))
    except RelayRefused:
        return name
    log.warning("another machine is called %s: this one is %s", name, different)
    return different
