"""What `relay-agentd doctor` finds. It reads, and mends nothing itself.

    doctor_machine    software, settings, folders
    doctor_relay      reachable, version, token, clock
    doctor_daemon     running, version, link, outbox, database, log
    doctor_sessions   providers, sessions, what dead ones left, folders the relay may use
    doctor_send       one session: a real message, and its proof

A check says how things stand in one sentence, and how to mend what is wrong in another. What one
check finds out (is there a daemon?) the later ones know from `Patient`. Blocks; for one thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from relay_agentd.paths import Paths
from relay_agentd.settings import Settings
from relay_launchers.base import Binary


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    mend: str | None = None
    """What to do, where something is to be done."""


@dataclass(slots=True, kw_only=True)
class Patient:
    """The machine, and what is known of it so far."""

    paths: Paths
    environment: Mapping[str, str]
    settings: Settings | None = None
    relay_version: str | None = None
    """None: no relay answered."""
    ping: Mapping[str, Any] | None = None
    """What the daemon says of itself; None: it did not answer."""
    sessions: list[Mapping[str, Any]] = field(default_factory=list)
    providers: dict[str, Binary] = field(default_factory=dict)
    """Those whose programs can be used."""


def ok(name: str, detail: str) -> Check:
    """As it should be."""
    return Check(name=name, verdict=Verdict.OK, detail=detail)


def warning(name: str, detail: str, mend: str | None = None) -> Check:
    """It works, but not as well as it could, or not for long."""
    return Check(name=name, verdict=Verdict.WARNING, detail=detail, mend=mend)


def problem(name: str, detail: str, mend: str) -> Check:
    """It does not work."""
    return Check(name=name, verdict=Verdict.PROBLEM, detail=detail, mend=mend)


def counted(number: int, thing: str) -> str:
    """`3 messages`, `1 message`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def minor(version: str) -> tuple[str, ...]:
    """What has to be the same for two of our programs to go together."""
    return tuple(version.split(".")[:2])
