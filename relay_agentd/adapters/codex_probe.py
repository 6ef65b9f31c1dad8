"""The ways into a Codex session, and whether they are open, without putting anything into it.

Owns nothing; runs on the daemon's event loop. Reading a thread and listing its queue change
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from relay_agentd.adapters.base import Probe
from relay_agentd.adapters.codex_connection import Lost, Refused
from relay_agentd.adapters.codex_follower import ThreadFollower
from relay_agentd.adapters.codex_history import queued
from relay_launchers.codex import protocol

QUEUE: Final = "thread/queue/add"
TURN: Final = "turn/start when idle"
STEER: Final = "turn/start while busy (urgent)"


def absent_ways(*, has_queue: bool) -> Mapping[str, str]:
    """Which ways this session does not have, and why."""
    return {} if has_queue else {QUEUE: "this version of Codex has no queue"}


async def probe(follower: ThreadFollower | None) -> Sequence[Probe]:
    """What the app-server says of the thread on the terminal."""
    if follower is None:
        return [Probe(name="app-server", ok=False, detail="not connected")]
    found = [Probe(name="app-server", ok=True, detail="connected")]
    followed = follower.followed
    if followed is None:
        return [*found, Probe(name="thread", ok=False, detail="none is on the terminal yet")]
    try:
        await follower.connection.call(protocol.read_thread(followed.id))
        state = f"{followed.id} is {followed.status.state}"
        found.append(Probe(name="thread", ok=followed.is_settled, detail=state))
        waiting = await queued(follower.connection, followed.id)
        found.append(Probe(name="queue", ok=True, detail=f"{len(waiting)} of our messages in it"))
    except (Lost, Refused) as error:
        found.append(Probe(name="thread", ok=False, detail=str(error)))
    return found
