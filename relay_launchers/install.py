"""How a provider's own sessions are made to join by themselves: the shapes of an installation.

A provider plans what is written, run and undone; `relay_agentd.installing` carries it out and
keeps the person's files as they were. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relay_launchers.base import Binary, Command


class InstallRefused(Exception):
    """A file of the person's cannot take what is ours, or cannot be read; the message says why and
    how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallRequest:
    """All a provider needs to plan an installation."""

    home: Path
    """The provider's own folder, as `Installer.home` names it."""
    data: Path
    """A folder of ours, for this provider and home alone."""
    binary: Binary | None
    """None where the installation runs no command of the provider's."""
    environment: Mapping[str, str]
    python: Path
    pipe: Path
    """Absolute path of `relay_agentd/mcp_pipe.py`."""
    control_socket: Path
    config: Path
    """The machine's settings file."""


class Change(Protocol):
    """What is ours in one file of the person's."""

    @property
    def by_command(self) -> bool:
        """One of the plan's commands puts it in; it is only taken out here."""
        ...

    def put_in(self, text: str) -> str:
        """The file with ours in it, in its newest form. Raises InstallRefused."""
        ...

    def is_in(self, text: str) -> bool:
        """Whether it is in the file, in this form."""
        ...

    def take_out(self, text: str, before: str | None) -> str:
        """The file without ours, in whatever form, and all else as it is. `before`: the file
        before the installation, None when there was none. Raises InstallRefused."""
        ...

    def is_same(self, text: str, other: str | None) -> bool:
        """Whether two contents mean the same; None is a file that does not exist."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """What to write and run. All of it may be done again without harm."""

    version: str
    """Names exactly what would be installed."""
    files: Mapping[Path, str]
    """Ours alone; written before the commands."""
    changes: Mapping[Path, Change]
    commands: tuple[Command, ...] = ()
    update: tuple[Command, ...] = ()
    """Run after those, where another version was installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What to undo: known without the provider's program, and for every version of ours."""

    changes: Mapping[Path, Change]
    folders: tuple[Path, ...] = ()
    """Ours alone, whoever made them."""
    touched: tuple[Path, ...] = ()
    """Files of the provider's that its commands write as they run: put back unless it has written
    them since."""
    byproducts: tuple[str, ...] = ()
    """Patterns below its home: what is new there after the commands goes with the rest."""


class Installer(Protocol):
    """What `relay_launchers.registry` holds for a provider whose sessions can join."""

    needs_program: bool
    """Whether the provider's own program has a part in it."""

    def home(self, environment: Mapping[str, str]) -> Path:
        """The provider's own folder."""
        ...

    def plan(self, request: InstallRequest) -> InstallPlan:
        """Decide what to write and run. Raises InstallRefused."""
        ...

    def traces(self, home: Path, data: Path) -> Traces:
        """What may be there of ours."""
        ...
