"""The life of a session as one table, in Supervisor's words. Pure.

    STARTING ──started──▶ RUNNING ──ending──▶ STOPPING ──ended──▶ EXITED
        │                    │
        └──ending, crashed   └──crashed──▶ BACKOFF ──ending──▶ STOPPING
                             BACKOFF ──retry──▶ STARTING, ──gave up──▶ FATAL

BACKOFF and FATAL belong to background sessions, which the daemon starts again itself.
"""

from enum import StrEnum
from typing import Final


class SessionState(StrEnum):
    """Where a session is in its life."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    BACKOFF = "BACKOFF"
    FATAL = "FATAL"


class SessionEvent(StrEnum):
    """What moves it on."""

    STARTED = "started"
    """The provider process is there."""
    ENDING = "ending"
    """One of the processes died, or somebody asked for the end."""
    ENDED = "ended"
    """Everything we started is gone."""
    CRASHED = "crashed"
    RETRY = "retry"
    GAVE_UP = "gave up"


class WrongTransition(Exception):
    """A caller's mistake: the event means nothing in that state."""


_S, _E = SessionState, SessionEvent
TRANSITIONS: Final = {
    (_S.STARTING, _E.STARTED): _S.RUNNING,
    (_S.STARTING, _E.ENDING): _S.STOPPING,
    (_S.STARTING, _E.CRASHED): _S.BACKOFF,
    # Said again by a launcher that found a new daemon.
    (_S.RUNNING, _E.STARTED): _S.RUNNING,
    (_S.RUNNING, _E.ENDING): _S.STOPPING,
    (_S.RUNNING, _E.CRASHED): _S.BACKOFF,
    # A daemon that died while it was ending a session ends it again.
    (_S.STOPPING, _E.ENDING): _S.STOPPING,
    (_S.STOPPING, _E.ENDED): _S.EXITED,
    (_S.BACKOFF, _E.RETRY): _S.STARTING,
    (_S.BACKOFF, _E.ENDING): _S.STOPPING,
    (_S.BACKOFF, _E.GAVE_UP): _S.FATAL,
}

LIVE: Final = frozenset({_S.STARTING, _S.RUNNING, _S.STOPPING, _S.BACKOFF})


def advance(state: SessionState, event: SessionEvent) -> SessionState:
    """The next state. Raises: WrongTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise WrongTransition(f"a session that is {state} cannot take {event!r}") from None
