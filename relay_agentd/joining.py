"""A session that a person started himself (`install`), described for the session table.

What describes it (label, approval mode, ...) stands in the environment of its own process and in
this machine's files, as for `run`; a hook passes the first on as it is. Reads the two files,
writes nothing. Runs on the daemon's loop.
"""

from collections.abc import Mapping
from typing import Any

from relay_agentd.errors import ControlRefused, SettingsInvalid
from relay_agentd.paths import Paths
from relay_agentd.process import ProcessId
from relay_agentd.settings import Settings, load_settings


def described(request: Mapping[str, Any], paths: Paths) -> dict[str, Any]:
    """`request` with what its `environment` says in the words of `session.open`, and its process
    named for ever. Without `environment` it has described itself. Raises: ControlRefused."""
    whole = {**request, "process": _process(request.get("process"))}
    environment = request.get("environment")
    if not isinstance(environment, Mapping):
        return whole
    settings = _settings({str(name): str(text) for name, text in environment.items()}, paths)
    return {
        **settings.described(),
        **whole,
    }


def _settings(environment: Mapping[str, str], paths: Paths) -> Settings:
    try:
        return load_settings(
            environment, env_file=paths.env_file, profiles_file=paths.profiles_file
        )
    except SettingsInvalid as error:
        raise ControlRefused("invalid_settings", "; ".join(error.problems)) from error


def _process(process: Any) -> Any:
    """A process named by its number alone is the one that has it now."""
    if not isinstance(process, Mapping) or "created" in process:
        return process
    found = ProcessId.of(process["pid"]) if type(process.get("pid")) is int else None
    if found is None:
        raise ControlRefused("no_process", f"there is no process {process.get('pid')}")
    return {"pid": found.pid, "created": found.created}
