"""The frozen settings: option > environment > env file > default.

The only module that knows setting names. All problems are reported together, each with its
name, the bad value (never a token) and what is accepted.
"""

import ipaddress
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from relay_server.domain.integration import Configured, from_settings
from relay_server.domain.token import fingerprint
from relay_server.errors import BadSettings
from relay_server.wire import DEFAULT_PORT

APPLICATION: Final = "agent-relay"
_MAX_MS: Final = 10 * 365 * 24 * 3600 * 1000
# Bound to these, the server listens on every address.
WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the server can be told."""

    host: str
    port: int
    database: Path
    token: str | None
    stale_ttl_ms: int
    offline_prune_ms: int
    retention_days: int
    max_streams: int
    loop_limit: int
    sender_limit: int
    allowed_hosts: tuple[str, ...]
    integrations: tuple[Configured, ...]
    integration_limit: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing the server can be told, and how it reads in the reference."""

    field: str
    name: str
    default: Callable[[], str]
    parse: Callable[[str], Any]
    accepted: str
    about: str
    secret: bool = False


class _Problems(ValueError):
    """A value with several things wrong; each text follows the setting's name."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self.texts = texts


def is_loopback(host: str) -> bool:
    """`localhost` or an address of the loopback network."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def default_database() -> Path:
    """The user's data folder."""
    return Path(platformdirs.user_data_dir(APPLICATION, appauthor=False)) / "relay.db"


def env_file() -> Path:
    """Where `setup` writes the server's environment."""
    return Path(platformdirs.user_config_dir(APPLICATION, appauthor=False)) / "server.env"


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return parse


def _host(text: str) -> str:
    if not text or any(c.isspace() or c == "/" for c in text):
        raise ValueError
    return text.strip("[]")


def _token(text: str) -> str | None:
    if any(not 0x21 <= ord(c) <= 0x7E for c in text):
        raise ValueError
    return text or None


def _path(text: str) -> Path:
    if not text or "\0" in text or "://" in text:
        raise ValueError
    return Path(text).expanduser()


def _without_port(host: str) -> str:
    """As the Host header is compared: a port means nothing, brackets only mark an address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(_without_port(part.strip().lower()) for part in text.split(",") if part.strip())
    if any(" " in host or "/" in host for host in hosts):
        raise ValueError
    return hosts


def _integrations(text: str) -> tuple[Configured, ...]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise _Problems([" = (hidden): expected JSON"]) from None
    found, problems = from_settings(listed)
    if problems:
        raise _Problems([f"{place}: {problem}" for place, problem in problems])
    return found


SETTINGS: Final = (
    Setting(
        "host",
        "HOST",
        lambda: "127.0.0.1",
        _host,
        "a host name or address",
        "where it listens; anything but loopback needs a token",
    ),
    Setting(
        "port",
        "PORT",
        lambda: str(DEFAULT_PORT),
        _number(0, 65535),
        "a port, 0..65535 (0: any free)",
        "where it listens",
    ),
    Setting(
        "database",
        "AGENT_RELAY_DB",
        lambda: str(default_database()),
        _path,
        "a file's path",
        "the database file",
    ),
    Setting(
        "token",
        "AGENT_RELAY_TOKEN",
        lambda: "",
        _token,
        "visible ASCII, no spaces",
        "what clients must show; it may do everything",
        secret=True,
    ),
    # Three missed heartbeats of 30 seconds.
    Setting(
        "stale_ttl_ms",
        "STALE_TTL_MS",
        lambda: "90000",
        _number(1, _MAX_MS),
        "milliseconds, at least 1",
        "silent for so long: offline",
    ),
    # A week: a machine may be off over a weekend and a holiday.
    Setting(
        "offline_prune_ms",
        "OFFLINE_PRUNE_MS",
        lambda: "604800000",
        _number(1, _MAX_MS),
        "milliseconds, at least 1",
        "offline for so long: removed",
    ),
    Setting(
        "retention_days",
        "RETENTION_DAYS",
        lambda: "30",
        _number(1, 3650),
        "days, 1..3650",
        "how long messages are kept",
    ),
    # One a machine and one a dashboard; each is a socket and what its client has not read yet.
    Setting(
        "max_streams",
        "AGENT_RELAY_MAX_STREAMS",
        lambda: "500",
        _number(0, 10000),
        "0..10000",
        "how many streams may be open at once",
    ),
    Setting(
        "loop_limit",
        "AGENT_RELAY_LOOP_LIMIT",
        lambda: "40",
        _number(0, 100000),
        "0..100000 (0: off)",
        "messages of a thread in ten minutes, before it is held for an operator",
    ),
    Setting(
        "sender_limit",
        "AGENT_RELAY_SENDER_LIMIT",
        lambda: "120",
        _number(0, 100000),
        "0..100000 (0: off)",
        "messages of one sender in a minute",
    ),
    Setting(
        "allowed_hosts",
        "AGENT_RELAY_ALLOWED_HOSTS",
        lambda: "",
        _hosts,
        "host names separated by commas",
        "further names it may be called by",
    ),
    Setting(
        "integrations",
        "AGENT_RELAY_INTEGRATIONS",
        lambda: "[]",
        _integrations,
        "a JSON list",
        "integrations with their tokens, scopes, targets and callbacks",
        secret=True,
    ),
    Setting(
        "integration_limit",
        "AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE",
        lambda: "120",
        _number(0, 100000),
        "0..100000 (0: off)",
        "events of one integration in a minute",
    ),
)


def load(options: Mapping[str, str | None] | None = None) -> Settings:
    """From options, this process's environment and the env file.

    Raises: BadSettings with one line a problem.
    """
    problems: list[str] = []
    sources = [
        {k: v for k, v in (options or {}).items() if v is not None},
        dict(os.environ),
        _read_env_file(env_file(), problems),
    ]
    return from_sources(sources, problems)


def from_sources(
    sources: Sequence[Mapping[str, str]], problems: list[str] | None = None
) -> Settings:
    """The first source that has a name wins."""
    problems = [] if problems is None else problems
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = next((s[setting.name] for s in sources if setting.name in s), None)
        # An empty variable is how shells and unit files unset one.
        text = setting.default() if text is None or not text.strip() else text.strip()
        try:
            values[setting.field] = setting.parse(text)
        except _Problems as wrong:
            problems.extend(f"{setting.name}{text}" for text in wrong.texts)
        except ValueError:
            shown = "(hidden)" if setting.secret else repr(text)
            problems.append(f"{setting.name} = {shown}: expected {setting.accepted}")
    problems.extend(_cross_checks(values))
    if problems:
        raise BadSettings(problems)
    return Settings(**values)


def _cross_checks(values: Mapping[str, Any]) -> list[str]:
    if "host" not in values or "token" not in values:
        return []
    problems = []
    if not values["token"] and not is_loopback(values["host"]):
        problems.append(
            f"HOST = {values['host']!r}: other machines could reach the relay, so AGENT_RELAY_TOKEN"
            " must be set (or bind 127.0.0.1)"
        )
    own = fingerprint(values["token"] or "")
    problems += [
        f"AGENT_RELAY_INTEGRATIONS[{position}].token: AGENT_RELAY_TOKEN is the same one"
        for position, configured in enumerate(values.get("integrations", ()))
        if configured.token_hash == own
    ]
    return problems


def _read_env_file(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"env file {path}: cannot be read ({type(error).__name__})")
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = stripped.partition("=")
        if not separator or not name.strip().isidentifier():
            problems.append(f"env file {path}, line {number}: expected NAME=value")
            continue
        values[name.strip()] = _unquote(value.strip())
    return values


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def describe(settings: Settings) -> list[tuple[str, str]]:
    """Every setting's effective value, secrets masked."""
    lines = []
    for setting in SETTINGS:
        value = getattr(settings, setting.field)
        if setting.field == "integrations" and value:
            value = f"(set: {', '.join(each.integration.name for each in value)})"
        elif setting.secret:
            value = "(set)" if value else "(not set)"
        elif isinstance(value, tuple):
            value = ",".join(value)
        lines.append((setting.name, str(value)))
    return lines


# Read by the daemon.
_MACHINE_SIDE: Final = {
    f"AGENT_RELAY_{word}"
    for word in (
        *("URL", "CAPS", "APPROVAL", "PROFILE", "TAGS", "LABEL", "CHANNELS", "RIG"),
        "LAUNCH_ROOTS",
    )
}


def unknown_names() -> list[str]:
    """Variables of ours that nobody reads: most often a typo."""
    known = {setting.name for setting in SETTINGS} | _MACHINE_SIDE
    return sorted(n for n in os.environ if n.startswith("AGENT_RELAY_") and n not in known)
