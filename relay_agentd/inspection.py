"""All that is known of one session, for `doctor --session`. Reads and changes nothing.

Runs on the daemon's loop.
"""

import asyncio
from dataclasses import asdict
from typing import Any, Final

from relay_agentd.adapters.base import Probe
from relay_agentd.clock import timestamp
from relay_agentd.session import Session

# A session that hangs must not hang whoever looks at it.
_PROBE_SECONDS: Final = 5.0


async def inspect(session: Session) -> dict[str, Any]:
    """The answer of `session.inspect`."""
    row, machine = session.row, session.machine
    mail = machine.store.mail
    agent_id = row.agent_id
    return {
        "session": {
            "key": row.key,
            "agentId": agent_id,
            "kind": row.kind.value,
            "state": row.state.value,
            "status": session.agent_status.value,
            "provider": row.provider,
            "providerVersion": row.provider_version,
            "rig": row.rig,
            "label": row.label,
            "cwd": str(row.cwd),
            "openedAt": timestamp(row.opened_at),
            "problem": row.problem,
        },
        "processes": _processes(session),
        "approval": {
            "mode": session.approval.value,
            "launched": row.approval.value,
            "relay": row.relay_approval.value if row.relay_approval else None,
            "overrides": list(row.approval_overrides),
        },
        "delivery": {
            "reachability": session.reachability.value,
            "ways": _ways(session),
            "waiting": mail.unseen(session.key),
            "onTheWay": mail.on_the_way(session.key),
            "lastProof": _last_proof(session),
        },
        "relay": {
            "state": machine.link.state.value,
            "problem": machine.link.problem,
            "serves": agent_id is not None and machine.link.serves(agent_id),
        },
        "questions": machine.desk.open_asks(instance=session.key),
        "probes": [asdict(each) for each in await _probe(session)],
    }


async def _probe(session: Session) -> list[Probe]:
    if session.adapter is None:
        return [Probe(name="transport", ok=False, detail="not started yet")]
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return list(await session.adapter.probe())
    except TimeoutError:
        detail = f"no answer within {_PROBE_SECONDS:g} s"
        return [Probe(name="transport", ok=False, detail=detail)]


def _processes(session: Session) -> list[dict[str, Any]]:
    return [
        {"role": role, "pid": process.pid, "alive": process.is_alive()}
        for role, process in session.row.roles().items()
    ]


def _ways(session: Session) -> list[dict[str, Any]]:
    if session.adapter is None:
        return []
    return [
        {
            "name": way.name,
            "state": way.state.value,
            "detail": way.detail,
            "provedAt": timestamp(way.proved_at) if way.proved_at else None,
        }
        for way in session.adapter.ways()
    ]


def _last_proof(session: Session) -> dict[str, str] | None:
    proof = session.machine.store.mail.last_proof(session.key)
    return {"at": timestamp(proof[0]), "via": proof[1]} if proof else None
