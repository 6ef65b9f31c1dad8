"""The fault matrix: what is hit, how, in which state of which session, and what comes of it.

    ENDS           the session is over: within 5 s its agent is offline and nothing of it is left
                   on the machine; what was sent to it waits, untouched, for its resumption
    GOES_ON        the session goes on as if nothing had been: its turn ends as it would have, its
                   question can be answered, and mail that was sent meanwhile arrives, once
    WITHOUT_TOOLS  the same, but its relay tools are gone until the provider starts them again:
                   neither Claude Code nor Codex does that within a session
    ENDS_ANSWERED  the turn under way is finished first: it ends once its question is answered

`OUTCOMES` holds for every provider and state; `EXCEPTIONS` are the cells that differ, and why.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.support.providers import CliName


class Component(StrEnum):
    """What is hit."""

    PROVIDER = "provider"
    LAUNCHER = "launcher"
    TERMINAL = "terminal"
    DAEMON = "daemon"
    RELAY = "relay"
    PIPE = "mcp process"
    APP_SERVER = "app-server"


class Fault(StrEnum):
    """How."""

    EXIT = "exit"
    """It ends in order: by its own command where it has one, else by Ctrl-C's signal."""
    TERM = "SIGTERM"
    KILL = "SIGKILL"
    STOP = "SIGSTOP"
    """It hangs for a while, and then goes on."""


class State(StrEnum):
    """What the session does at that moment."""

    IDLE = "idle"
    BUSY = "busy"
    """It runs a command."""
    WAITING = "waiting for approval"


class Outcome(StrEnum):
    """See the module."""

    ENDS = "ends"
    GOES_ON = "goes on"
    WITHOUT_TOOLS = "goes on without tools"
    ENDS_ANSWERED = "ends once answered"


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of the matrix."""

    component: Component
    fault: Fault
    cli: CliName
    state: State

    @property
    def outcome(self) -> Outcome:
        """What comes of it."""
        return EXCEPTIONS.get(self, OUTCOMES[self.component, self.fault])

    def __str__(self) -> str:
        return f"{self.cli}-{self.state}-{self.component}-{self.fault}".replace(" ", "-")


_C, _F, _O = Component, Fault, Outcome

OUTCOMES: dict[tuple[Component, Fault], Outcome] = {
    (_C.PROVIDER, _F.EXIT): _O.ENDS,
    (_C.PROVIDER, _F.TERM): _O.ENDS,
    (_C.PROVIDER, _F.KILL): _O.ENDS,
    (_C.PROVIDER, _F.STOP): _O.GOES_ON,
    # The launcher passes Ctrl-C, SIGTERM and SIGHUP on: the provider decides. A killed one takes
    # the provider with it.
    (_C.LAUNCHER, _F.EXIT): _O.ENDS,
    (_C.LAUNCHER, _F.TERM): _O.ENDS,
    (_C.LAUNCHER, _F.KILL): _O.ENDS,
    (_C.LAUNCHER, _F.STOP): _O.GOES_ON,
    # However the window's program ends, the kernel hangs up on what ran in it.
    (_C.TERMINAL, _F.EXIT): _O.ENDS,
    (_C.TERMINAL, _F.TERM): _O.ENDS,
    (_C.TERMINAL, _F.KILL): _O.ENDS,
    (_C.TERMINAL, _F.STOP): _O.GOES_ON,
    # The launcher starts the next daemon; it takes the session over.
    (_C.DAEMON, _F.EXIT): _O.GOES_ON,
    (_C.DAEMON, _F.TERM): _O.GOES_ON,
    (_C.DAEMON, _F.KILL): _O.GOES_ON,
    (_C.DAEMON, _F.STOP): _O.GOES_ON,
    (_C.RELAY, _F.EXIT): _O.GOES_ON,
    (_C.RELAY, _F.TERM): _O.GOES_ON,
    (_C.RELAY, _F.KILL): _O.GOES_ON,
    (_C.RELAY, _F.STOP): _O.GOES_ON,
    (_C.PIPE, _F.EXIT): _O.WITHOUT_TOOLS,
    (_C.PIPE, _F.TERM): _O.WITHOUT_TOOLS,
    (_C.PIPE, _F.KILL): _O.WITHOUT_TOOLS,
    (_C.PIPE, _F.STOP): _O.GOES_ON,
    (_C.APP_SERVER, _F.EXIT): _O.ENDS,
    (_C.APP_SERVER, _F.TERM): _O.ENDS,
    (_C.APP_SERVER, _F.KILL): _O.ENDS,
    (_C.APP_SERVER, _F.STOP): _O.GOES_ON,
}
EXCEPTIONS: dict[Cell, Outcome] = {
    # Codex's app-server shuts down in order, and a turn that waits for a person is not over.
    Cell(_C.APP_SERVER, _F.EXIT, "codex", State.WAITING): _O.ENDS_ANSWERED,
    Cell(_C.APP_SERVER, _F.TERM, "codex", State.WAITING): _O.ENDS_ANSWERED,
}

CLIS: tuple[CliName, ...] = ("codex", "claude-2.1.197", "claude-2.1.330")


def all_cells() -> Iterator[Cell]:
    """Every cell there is; Claude Code has no app-server."""
    for component, fault, cli, state in itertools.product(Component, Fault, CLIS, State):
        if cli == "codex" or component is not Component.APP_SERVER:
            yield Cell(component, fault, cli, state)


def spread_cells() -> Iterator[Cell]:
    """One state for each of the others, all states alike often: what a short run takes."""
    states = list(State)
    for cell in all_cells():
        indexes = (
            list(Component).index(cell.component),
            list(Fault).index(cell.fault),
            CLIS.index(cell.cli),
        )
        if cell.state is states[sum(indexes) % len(states)]:
            yield cell
