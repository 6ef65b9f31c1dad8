"""What `relay-server doctor` looks at: reads, asks the relay on this machine, changes nothing.

Each check stands for itself; those that need the settings or the database wait until these are
right.
"""

import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from relay_server import __version__, host, settings
from relay_server.clock import SystemClock, to_rfc3339
from relay_server.domain.integration import is_callback_url
from relay_server.errors import BadSettings, StoreRefused
from relay_server.services.probe import ask_health, is_port_free
from relay_server.settings import WILDCARDS, Settings
from relay_server.store import integrations
from relay_server.store.inspection import Inspection, inspected
from relay_server.store.migrations import MIGRATIONS

# SQLite needs room for its log, and a backup for a whole copy.
_LEAST_FREE_BYTES: Final = 200 * 1024 * 1024
# A clock that was set back makes leases and expiries wrong; a little is daily correction.
_CLOCK_SLACK_MS: Final = 60_000
# No release is older than this, so no clock that is right shows less.
_NOT_BEFORE: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00").timestamp() * 1000
_SECRET_SETTINGS: Final = ("AGENT_RELAY_TOKEN", "AGENT_RELAY_INTEGRATIONS")


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `mend` says how, and is empty where nothing is to be done."""

    name: str
    is_ok: bool
    detail: str
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ok": self.is_ok,
            "detail": self.detail,
            "mend": self.mend or None,
        }


def examine(options: Mapping[str, str | None]) -> list[Check]:
    """Every check, in an order to mend things in."""
    found = [*_env_file(), *_unknown_names()]
    try:
        effective = settings.load(options)
    except BadSettings as error:
        found += [
            Check("settings", False, line, "correct it; the rest is checked then")
            for line in str(error).splitlines()
        ]
        return found
    found.append(Check("settings", True, "readable and valid"))
    found += [_token(effective), *_clock(), *_database(effective), *_relay(effective)]
    return found


def _env_file() -> Iterator[Check]:
    path = settings.env_file()
    if not path.exists():
        yield Check("env file", True, f"none at {path}")
        return
    try:
        holds_secret = any(name in path.read_text(encoding="utf-8") for name in _SECRET_SETTINGS)
    except (OSError, UnicodeDecodeError) as error:
        yield Check("env file", False, f"{path} cannot be read ({error})", "let its user read it")
        return
    if holds_secret and _is_open_to_others(path):
        yield Check("env file", False, f"others may read {path}", f"chmod 600 {path}")
    else:
        yield Check("env file", True, str(path))


def _is_open_to_others(path: Path) -> bool:
    # Windows keeps rights elsewhere; the user's folders are his alone there.
    return sys.platform != "win32" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _unknown_names() -> Iterator[Check]:
    for name in settings.unknown_names():
        yield Check("settings", False, f"nobody reads {name}", "correct the name or unset it")


def _token(effective: Settings) -> Check:
    if effective.token:
        return Check("token", True, "set")
    # Other addresses than loopback were refused with the settings.
    return Check("token", True, f"none needed: only this machine reaches {effective.host}")


def _clock() -> Iterator[Check]:
    now = SystemClock().now_ms()
    is_ok = now >= _NOT_BEFORE
    yield Check("clock", is_ok, to_rfc3339(now), "" if is_ok else "set the system's clock")


def _database(effective: Settings) -> Iterator[Check]:
    path = effective.database
    if not path.exists() or not path.stat().st_size:
        yield Check("database", True, f"none yet; the first start makes {path}")
        return
    if _is_open_to_others(path):
        yield Check("database", False, f"others may read {path}", f"chmod 600 {path}")
    try:
        with inspected(path) as database:
            version = database.integrity()
            yield Check("database", True, f"{path} is healthy")
            yield _schema(version)
            if version == len(MIGRATIONS):
                yield from _contents(database, effective)
    except (StoreRefused, OSError) as error:
        mend = f"stop the relay, then `relay-server restore` a backup, or move {path} away"
        yield Check("database", False, str(error), mend)
    yield _disk(path)


def _schema(version: int) -> Check:
    if version > len(MIGRATIONS):
        return Check("schema", False, f"{version}, made by a newer program", "upgrade agent-relay")
    if version < len(MIGRATIONS):
        return Check("schema", True, f"{version}; the next start raises it to {len(MIGRATIONS)}")
    return Check("schema", True, str(version))


def _contents(database: Inspection, effective: Settings) -> Iterator[Check]:
    newest, now = database.newest_message_at(), SystemClock().now_ms()
    if newest is not None and newest > now + _CLOCK_SLACK_MS:
        at = to_rfc3339(newest)
        yield Check("clock", False, f"the newest message is of {at}", "set the system's clock")
    configured = {each.integration.name for each in effective.integrations}
    wrong = 0
    for stored in integrations.all_integrations(database):
        integration = stored.integration
        again = f"`relay-server integration remove {integration.name}`, and add it again"
        if integration.name in configured:
            wrong += 1
            said = f"{integration.name} is also in AGENT_RELAY_INTEGRATIONS, which counts"
            yield Check("integrations", False, said, f"remove it there, or {again}")
        elif integration.callback_url and not is_callback_url(integration.callback_url):
            wrong += 1
            said = f"the callback URL of {integration.name} is none"
            yield Check("integrations", False, said, again)
    if not wrong:
        yield Check("integrations", True, "their callback URLs can be used")


def _disk(path: Path) -> Check:
    needed = max(_LEAST_FREE_BYTES, path.stat().st_size)
    free = shutil.disk_usage(path.parent).free
    detail = f"{free // 2**20:,} MB free at {path.parent}"
    if free < needed:
        return Check("disk", False, detail, f"make room: {needed // 2**20:,} MB are advisable")
    return Check("disk", True, detail)


def _relay(effective: Settings) -> Iterator[Check]:
    port, start = effective.port, "start it: relay-server"
    if port == 0:
        yield Check("relay", False, "PORT is 0, so nobody knows where it listens", "set PORT")
        return
    place = "127.0.0.1" if effective.host in WILDCARDS else effective.host
    version = ask_health(place, port)
    if version is not None:
        yield Check("port", True, f"{port} is the relay's: {host.port_holder(port)}")
        is_same = version == __version__
        mend = "" if is_same else f"restart the relay: this program is {__version__}"
        yield Check("relay", is_same, f"version {version} answers on {place}:{port}", mend)
    elif is_port_free(effective.host, port):
        yield Check("port", True, f"{port} is free")
        yield Check("relay", False, f"none answers on {place}:{port}", start)
    else:
        holder = host.port_holder(port)
        yield Check("port", False, f"{port} is held by {holder}", "end that, or set another PORT")
        yield Check("relay", False, f"none answers on {place}:{port}", start)
