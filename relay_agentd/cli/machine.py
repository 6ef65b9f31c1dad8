"""What a command needs to know of this machine: its paths, its settings, its daemon."""

import os
from typing import TYPE_CHECKING

from relay_agentd.control_client import ControlClient
from relay_agentd.paths import Paths
from relay_agentd.settings import Settings, load_settings

if TYPE_CHECKING:
    from relay_agentd.autostart import Machine


def settings(options: dict[str, str | None] | None = None) -> Settings:
    """The settings with `options` of the command line before all else. Raises: SettingsInvalid."""
    paths = Paths.default()
    return load_settings(
        os.environ, options=options, env_file=paths.env_file, profiles_file=paths.profiles_file
    )


def here(options: dict[str, str | None] | None = None) -> "Machine":
    """All that starting something here needs. Raises: SettingsInvalid."""
    from relay_agentd.autostart import Machine

    return Machine(settings=settings(options), paths=Paths.default(), environment=os.environ)


def daemon() -> ControlClient:
    """This machine's daemon, running or not."""
    return ControlClient(Paths.default().control_socket)
