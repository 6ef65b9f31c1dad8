"""Which providers there are, by the name a person types.

The built-in ones are imported only when asked for. Another installed package adds its own by an
entry point in the group ``agent_relay.providers`` that names a `Provider` object; a built-in name
cannot be taken over.
"""

from importlib import import_module
from typing import cast

from relay_launchers.base import Provider
from relay_launchers.install import Installer

ENTRY_POINT_GROUP = "agent_relay.providers"

# Each package holds its provider as `PROVIDER`.
_BUILT_IN = {"claude": "relay_launchers.claude", "codex": "relay_launchers.codex"}
# What `run -- COMMAND` is: nothing a person has to name.
_UNLISTED = {"command": "relay_launchers.command"}

_INSTALLERS = {
    "claude": "relay_launchers.claude.install:ClaudeInstaller",
    "codex": "relay_launchers.codex.install:CodexInstaller",
}


class UnknownProvider(Exception):
    """No provider has that name; the message lists those there are."""


def provider_names() -> list[str]:
    """The names `find_provider` knows, built-in ones first."""
    from importlib.metadata import entry_points

    added = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return [*_BUILT_IN, *sorted(added - _BUILT_IN.keys())]


def find_provider(name: str) -> Provider:
    """The provider called `name`. Raises UnknownProvider."""
    if module := (_BUILT_IN | _UNLISTED).get(name):
        return cast("Provider", import_module(module).PROVIDER)
    # Only for a name that is not built in: reading what is installed takes its time.
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return cast("Provider", entry.load())
    raise UnknownProvider(
        f"no provider is called {name!r}; there are: {', '.join(provider_names())}"
    )


def find_installer(name: str) -> Installer:
    """How plain sessions of the provider called `name` are made to join. Raises UnknownProvider."""
    if name not in _INSTALLERS:
        known = ", ".join(_INSTALLERS)
        raise UnknownProvider(
            f"plain sessions of {name!r} cannot be made to join, those of {known}"
        )
    module, _, attribute = _INSTALLERS[name].partition(":")
    return cast("Installer", getattr(import_module(module), attribute)())
