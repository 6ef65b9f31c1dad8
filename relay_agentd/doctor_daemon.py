"""Checks of `doctor`: the daemon, its link, what it keeps and what it complained of."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from relay_agentd import __version__
from relay_agentd.autostart import started
from relay_agentd.clock import now
from relay_agentd.control_client import ControlClient
from relay_agentd.doctor import Check, Patient, counted, minor, ok, problem, warning
from relay_agentd.errors import AgentdError, DaemonUnreachable, StoreUnusable
from relay_agentd.store import Store

_RESTART: Final = "relay-agentd down; relay-agentd up"
_BY_HAND: Final = "relay-agentd up starts it again, and the sessions go on"
_LOG_BYTES: Final = 256 * 1024
_RECENT: Final = timedelta(hours=24)
_LOG_LINE: Final = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (\w+) (.*)$", re.MULTILINE)
_PATIENCE_SECONDS: Final = 3.0


def check(patient: Patient) -> Iterator[Check]:
    """Everything about the daemon."""
    client = ControlClient(patient.paths.control_socket)
    try:
        patient.ping = client.call("ping", timeout=_PATIENCE_SECONDS)
        patient.sessions = client.call("ps", timeout=_PATIENCE_SECONDS)["sessions"]
    except DaemonUnreachable as error:
        yield from _absent(patient, str(error))
    except AgentdError as error:
        yield problem("daemon", f"it answers wrongly: {error}", _RESTART)
    if patient.ping is not None:
        yield from _present(patient, patient.ping)
    yield from _log(patient.paths.daemon_log)


def _absent(patient: Patient, reason: str) -> Iterator[Check]:
    pid = _holder(patient.paths.lock_file)
    if patient.paths.control_socket.exists() and "did not answer" in reason:
        mend = f"end it, and it is started again: kill -9 {pid}" if pid else _RESTART
        yield problem("daemon", reason, mend)
        return
    yield warning("daemon", reason, "relay-agentd up (`run` starts it too)")
    if patient.paths.database.exists():
        try:
            Store(patient.paths.database).close()
            yield ok("database", f"{patient.paths.database} is sound")
        except StoreUnusable as unusable:
            mend = "restore it or move it away: undelivered mail comes from the relay again"
            yield problem("database", str(unusable), mend)


def _present(patient: Patient, ping: Mapping[str, Any]) -> Iterator[Check]:
    version = str(ping["version"])
    running = f"running, pid {ping['pid']}, version {version}, sessions: {ping['sessions']}"
    if minor(version) == minor(__version__):
        yield ok("daemon", running)
    else:
        yield warning("daemon", f"{running}; this program is {__version__}", _RESTART)
    yield _link(patient, ping)
    yield from _service(patient, ping)
    yield _waiting(ping)
    yield ok("database", f"{ping['databaseBytes'] // 1024} kB in {patient.paths.database}")


def _link(patient: Patient, ping: Mapping[str, Any]) -> Check:
    wanted = patient.settings.url if patient.settings else ping["url"]
    if ping["url"] != wanted:
        detail = f"the daemon is connected to {ping['url']}, the settings say {wanted}"
        return problem("link", detail, f"unset AGENT_RELAY_URL, or {_RESTART}")
    if ping["relay"] == "connected":
        return ok("link", f"a stream from {ping['url']}")
    if ping["relay"] == "polling":
        detail = "the relay has no stream free for this machine: it polls"
        return warning("link", detail, "raise the relay's AGENT_RELAY_MAX_STREAMS")
    detail = f"the daemon has no connection to {ping['url']}: {ping.get('problem') or 'not yet'}"
    return problem("link", detail, "see the checks of the relay above; it connects by itself")


def _service(patient: Patient, ping: Mapping[str, Any]) -> Iterator[Check]:
    """Who starts it again: a service manager, a terminal session's launcher, or nobody."""
    kinds = {each["kind"] for each in patient.sessions}
    by_hand = any(each.pid == ping["pid"] for _, each in started(patient.paths))
    if by_hand and "background" in kinds and "terminal" not in kinds:
        detail = "nobody starts the daemon again when it or the machine dies, and only background"
        detail += " sessions run here"
        yield warning("service", detail, _BY_HAND)


def _waiting(ping: Mapping[str, Any]) -> Check:
    outbox, receipts = ping["outbox"], ping["unreported"]
    what = f"{counted(outbox, 'message')} and {counted(receipts, 'receipt')}"
    detail = f"waiting for the relay: {what}"
    if not outbox and not receipts:
        return ok("outbox", "nothing waits for the relay")
    if ping["relay"] == "connected" and outbox:
        return warning("outbox", detail, "look again in a minute; then see the daemon's log")
    return ok("outbox", f"{detail}; they go out by themselves")


def _log(path: Path) -> Iterator[Check]:
    """What it complained of lately."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return
    since = datetime.fromtimestamp(now()) - _RECENT  # noqa: DTZ006 - the log tells local time
    errors = [
        said
        for time, level, said in _LOG_LINE.findall(text)
        if level in ("ERROR", "CRITICAL") and datetime.fromisoformat(time) > since
    ]
    if errors:
        detail = f"{counted(len(errors), 'error')} in a day, the last: {errors[-1][:200]}"
        yield warning("log", detail, f"read {path}")
    else:
        yield ok("log", f"no errors in {path}")


def _holder(lock: Path) -> int | None:
    try:
        text = lock.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
