"""Makes sure that a relay and a daemon run, and starts them in the background when they do not.

A relay is started only at a loopback URL. What is started is a session of its own with a scrubbed
environment, logs into the state folder, and is written down with its creation time, so that
`stop_started` ends exactly that. Several starters at once are fine: the relay's port and the
daemon's lock decide, and who loses finds the winner's healthy.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from relay_agentd import relay_calls
from relay_agentd.clock import monotonic
from relay_agentd.control_client import ControlClient
from relay_agentd.errors import AgentdError, DaemonUnreachable, RelayRefused, RelayUnreachable
from relay_agentd.paths import Paths, make_private
from relay_agentd.process import ProcessId, listener, terminate
from relay_agentd.relay_url import is_local
from relay_agentd.settings import Settings
from relay_agentd.spawn import Child, spawn_detached
from relay_server.wire import OPERATOR

RELAY = "relay_server"
DAEMON = "relay_agentd"

_HEALTHY_SECONDS = 10.0
_POLL_SECONDS = 0.05
_END_SECONDS = 10.0
_LOG_LINES = 5
# Both programs exit so when another of their kind was there first. That one may need a moment more.
_LOST_THE_RACE = 4
_WINNER_SECONDS = 5.0

# What a background program may inherit. Above all no provider's key: what the relay does not
# have it cannot leak.
_INHERITED = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONDONTWRITEBYTECODE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "STALE_TTL_MS",
        "OFFLINE_PRUNE_MS",
        "RETENTION_DAYS",
    ]
)
_INHERITED_PREFIXES = ("AGENT_RELAY_", "XDG_", "LC_")
# Belong to one session, or describe one agent.
_OF_ONE_SESSION = frozenset(
    [
        "AGENT_RELAY_SESSION",
        "AGENT_RELAY_CONTROL",
        "AGENT_RELAY_SESSION_DIR",
        "AGENT_RELAY_LABEL",
        "AGENT_RELAY_TAGS",
        "AGENT_RELAY_CAPS",
        "AGENT_RELAY_CHANNELS",
        "AGENT_RELAY_PROFILE",
        "AGENT_RELAY_APPROVAL",
    ]
)


class StartFailed(AgentdError):
    """A background program did not come up; the message has its last words."""

    exit_status = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is to run on this machine, and where it keeps its files."""

    settings: Settings
    paths: Paths
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What had to be started."""

    relay: bool = False
    daemon: bool = False


def ensure_running(machine: Machine, *, may_start: bool = True) -> Started:
    """See to it that relay and daemon answer. Raises: AgentdError."""
    # A daemon that is connected says it all, in a fraction of the time a request takes.
    client = ControlClient(machine.paths.control_socket)
    with suppress(DaemonUnreachable):
        if _check_daemon(client, machine.settings).get("relay") == "connected":
            return Started()
    return Started(
        relay=ensure_relay(machine, may_start=may_start),
        daemon=ensure_daemon(machine, may_start=may_start),
    )


def ensure_relay(machine: Machine, *, may_start: bool = True) -> bool:
    """See to it that the relay answers. True when it was started here.

    Raises: RelayUnreachable, RelayRefused, StartFailed.
    """
    url = urlsplit(machine.settings.url)
    try:
        _check_relay(machine.settings)
    except RelayUnreachable:
        if url.scheme != "http" or not is_local(machine.settings.url) or not may_start:
            raise
    else:
        return False
    port = url.port or 80
    _start(machine, RELAY, {"PORT": str(port)}, lambda: _check_relay(machine.settings))
    return True


def ensure_daemon(machine: Machine, *, may_start: bool = True) -> bool:
    """See to it that the daemon answers. True when it was started here.

    Raises: DaemonUnreachable, StartFailed, AgentdError when it serves another relay.
    """
    client = ControlClient(machine.paths.control_socket)
    try:
        _check_daemon(client, machine.settings)
    except DaemonUnreachable:
        if not may_start:
            raise
    else:
        return False
    _start(machine, DAEMON, {}, lambda: _check_daemon(client, machine.settings))
    return True


def start_daemon(machine: Machine) -> None:
    """Start the daemon and do not wait for it: a lost race or a failure is only logged by it."""
    _spawn(machine, DAEMON, {})


def bring_up(machine: Machine) -> None:
    """Start what is missing in the background and do not wait for it; a failure is in the log."""
    make_private(machine.paths.state)
    log = make_private(machine.paths.logs) / "up.out"
    environment = _scrubbed(machine.environment) | {"AGENT_RELAY_URL": machine.settings.url}
    if machine.settings.token:
        environment["AGENT_RELAY_TOKEN"] = machine.settings.token
    spawn_detached([sys.executable, "-m", DAEMON, "up"], environment, log)


def started(paths: Paths) -> list[tuple[str, ProcessId]]:
    """What was started from here and still runs: (module, process)."""
    running = []
    for record in sorted(_records(paths).glob("*@*@*")):
        module, pid, created = record.name.split("@")
        process = ProcessId(int(pid), float(created))
        if process.is_alive():
            running.append((module, process))
        else:
            record.unlink(missing_ok=True)
    return running


def end_started(paths: Paths) -> list[tuple[str, ProcessId]]:
    """End exactly what was started from here; the daemon first, so that it can say goodbye."""
    running = sorted(started(paths), key=lambda entry: entry[0] != DAEMON)
    for _, program in running:
        asyncio.run(terminate([program], grace=_END_SECONDS))
    started(paths)
    return running


def _check_relay(settings: Settings) -> None:
    """Raises: RelayUnreachable, AgentdError when something else answers or our token is wrong."""
    # Late: a launcher that finds everything running stays without it for hours.
    from relay_agentd.relay_client import RelayClient

    with RelayClient(settings.url, settings.token) as client:
        try:
            client.request(relay_calls.health())
        except RelayRefused as error:
            if error.code != "not_a_relay":
                raise
            raise StartFailed(_taken(settings.url)) from error
        # Its health is anybody's to see, an agent is not.
        client.request(relay_calls.agent(OPERATOR))


def _taken(url: str) -> str:
    """Who answers at our port and is no relay."""
    who = listener(urlsplit(url).port or 80) if is_local(url) else None
    return (
        f"{url} is answered by {who or 'another program'}, which is not a relay."
        " Stop it, or choose another port: AGENT_RELAY_URL=http://localhost:4851"
    )


def _check_daemon(client: ControlClient, settings: Settings) -> dict[str, Any]:
    """What the daemon says of itself.

    Raises: DaemonUnreachable, AgentdError when it serves another relay.
    """
    answer = client.call("ping", timeout=3.0)
    if answer.get("url") != settings.url:
        raise AgentdError(
            f"the daemon on this machine is connected to {answer.get('url')}, not to"
            f" {settings.url}. Unset AGENT_RELAY_URL, or restart the daemon:"
            " relay-agentd down, relay-agentd up"
        )
    return answer


def _start(
    machine: Machine, module: str, variables: Mapping[str, str], check: Callable[[], object]
) -> None:
    """Start a program and wait until `check` raises nothing. Raises: StartFailed."""
    log = _log(machine.paths, module)
    length = log.stat().st_size if log.exists() else 0
    child = _spawn(machine, module, variables)
    deadline = monotonic() + _HEALTHY_SECONDS
    while True:
        try:
            check()
        except (RelayUnreachable, DaemonUnreachable):
            ended = child.exit_code()
        else:
            return
        if ended == _LOST_THE_RACE:
            deadline = min(deadline, monotonic() + _WINNER_SECONDS)
        elif ended is not None:
            raise StartFailed(f"{module} ended at once (status {ended}){_last_words(log, length)}")
        if monotonic() >= deadline:
            seconds = f"{_HEALTHY_SECONDS:g} s"
            raise StartFailed(f"{module} did not answer within {seconds}{_last_words(log, length)}")
        sleep(_POLL_SECONDS)


def _spawn(machine: Machine, module: str, variables: Mapping[str, str]) -> Child:
    make_private(machine.paths.state)
    make_private(machine.paths.logs)
    records = make_private(_records(machine.paths))
    environment = _scrubbed(machine.environment) | {"AGENT_RELAY_URL": machine.settings.url}
    if machine.settings.token:
        environment["AGENT_RELAY_TOKEN"] = machine.settings.token
    argv = [sys.executable, "-m", module, "serve"]
    child = spawn_detached(argv, {**environment, **variables}, _log(machine.paths, module))
    if process := ProcessId.of(child.pid):
        # A record is a file's name: several starters need no lock to keep each their own.
        (records / f"{module}@{process.pid}@{process.created}").touch()
    return child


def _scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if (name in _INHERITED or name.startswith(_INHERITED_PREFIXES))
        and name not in _OF_ONE_SESSION
    }


def _records(paths: Paths) -> Path:
    return paths.state / "started"


def _log(paths: Paths, module: str) -> Path:
    return paths.logs / f"{module.replace('_', '-')}.out"


def _last_words(log: Path, since: int) -> str:
    """What the program said this time, as the end of a sentence."""
    with log.open("rb") as file:
        file.seek(since)
        lines = file.read().decode("utf-8", "replace").splitlines()
    said = "".join(f"\n    {line}" for line in lines[-_LOG_LINES:])
    return f"; log: {log}" + (f"; its last words:{said}" if said else "")
