"""Which session a person means by a name: its key, its agent's id or its label."""

from collections.abc import Iterable

from relay_agentd.errors import ControlRefused
from relay_agentd.store.sessions import SessionRow


def is_called(row: SessionRow, target: str) -> bool:
    """Is it this one?"""
    label = (row.label or "").casefold()
    return target in (row.key, row.agent_id) or target.casefold() == label != ""


def one_called(rows: Iterable[SessionRow], target: str) -> SessionRow:
    """The one session of that name. Raises: ControlRefused."""
    found = [row for row in rows if is_called(row, target)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(row.agent_id or row.key for row in found)
        raise ControlRefused("ambiguous", f"several sessions are called {target!r}: {ids}")
    raise ControlRefused("unknown_session", f"no session here is called {target!r}")
