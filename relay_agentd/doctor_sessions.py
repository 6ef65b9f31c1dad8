"""Checks of `doctor`: providers, sessions, what dead ones left, and one session in detail."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from relay_agentd.control_client import ControlClient
from relay_agentd.doctor import Check, Patient, counted, ok, problem, warning
from relay_agentd.errors import AgentdError
from relay_agentd.installing import install, request_for
from relay_launchers.base import ProviderAbsent, ProviderNotFound
from relay_launchers.registry import (
    UnknownProvider,
    find_installer,
    find_provider,
    provider_names,
)

_PATIENCE_SECONDS: Final = 10.0
_OPEN_WAYS: Final = ("proved", "untried")


def check(patient: Patient) -> Iterator[Check]:
    """All sessions, shortly."""
    yield from _providers(patient)
    yield from _installed(patient)
    for listed in patient.sessions:
        yield _listed(patient, listed)
    yield from _left_over(patient)
    yield from _roots(patient)


def _providers(patient: Patient) -> Iterator[Check]:
    found, absent = [], []
    for name in provider_names():
        try:
            binary = find_provider(name).find(patient.environment)
        except ProviderAbsent as missing:
            absent.append(f"{name}: {missing}")
        except ProviderNotFound as unusable:
            found.append(warning("provider", f"{name}: {unusable}"))
        except Exception as error:  # noqa: BLE001 - another package's code
            found.append(problem("provider", f"{name}: {error}", "upgrade the package it is from"))
        else:
            patient.providers[name] = binary
            shown = f"{name} {binary.version} ({binary.path})"
            found.append(
                warning("provider", f"{shown}: {binary.lacks}", binary.update)
                if binary.lacks
                else ok("provider", shown)
            )
    yield from found
    # Who has one need not have the other.
    for missed in absent:
        yield (ok if patient.providers else warning)("provider", missed)


def _installed(patient: Patient) -> Iterator[Check]:
    """Whether plain sessions join, and by what this version would install."""
    for name, binary in patient.providers.items():
        try:
            installer = find_installer(name)
        except UnknownProvider:
            continue
        request = request_for(name, installer, binary, patient.paths, patient.environment)
        again = f"relay-agentd install {name}"
        try:
            state = install(installer, request, dry_run=True).state
        except AgentdError as error:
            yield warning("installed", f"{name}: {error}", again)
            continue
        if state == "already installed":
            yield ok("installed", f"plain `{name}` sessions join by themselves")
        elif state == "installed":
            yield ok("installed", f"plain `{name}` sessions do not join (`{again}`)")
        else:
            detail = f"what makes plain `{name}` sessions join is incomplete or of another version"
            yield warning("installed", detail, again)


def _listed(patient: Patient, listed: Mapping[str, Any]) -> Check:
    name = str(listed.get("agentId") or listed["key"])
    if listed["state"] in ("FATAL", "BACKOFF"):
        detail = (
            f"{name} is {listed['state']}: {listed.get('problem') or 'it ended again and again'}"
        )
        if listed["state"] == "BACKOFF":
            return warning("session", f"{detail}; it is started again", f"relay-agentd logs {name}")
        mend = f"see `relay-agentd logs {name}`, then `relay-agentd stop {name}` and start it anew"
        return problem("session", detail, mend)
    found = list(examine(inspected(patient, name)))
    bad = [each for each in found if each.verdict != "ok"]
    if not bad:
        return ok("session", f"{name}: {listed['status']}, messages get in")
    detail = f"{name}: {'; '.join(each.detail for each in bad)}"
    return warning("session", detail, f"relay-agentd doctor --session {name} --send")


def inspected(patient: Patient, target: str) -> Mapping[str, Any]:
    """What the daemon knows of one session. Raises: DaemonUnreachable, ControlRefused."""
    client = ControlClient(patient.paths.control_socket)
    return client.call("session.inspect", target=target, timeout=_PATIENCE_SECONDS)


def examine(known: Mapping[str, Any]) -> Iterator[Check]:
    """One session, in detail."""
    session, delivery = known["session"], known["delivery"]
    yield _state(session)
    for process in known["processes"]:
        name, pid = process["role"], process["pid"]
        if process["alive"]:
            yield ok("process", f"{name} runs, pid {pid}")
        else:
            yield problem("process", f"its {name} (pid {pid}) is gone", "it is tidied up soon")
    mode = known["approval"]
    overrides = f"; its own flags win: {' '.join(mode['overrides'])}" if mode["overrides"] else ""
    yield ok("approval", f"{mode['mode']}{overrides}")
    yield _registered(session, known["relay"])
    for probe in known["probes"]:
        # A version without one way has another: which of them matter is said below.
        found = ok if probe["ok"] else warning
        yield found("probe", f"{probe['name']}: {probe['detail']}")
    yield from _ways(delivery)
    yield _mail(delivery)
    if known["questions"]:
        detail = f"{counted(len(known['questions']), 'step')} waiting for a person"
        yield warning("questions", detail, "relay-agentd approvals")


def _state(session: Mapping[str, Any]) -> Check:
    name = session["agentId"] or session["key"]
    version = session["providerVersion"]
    provider = session["provider"] + (f" {version}" if version != "-" else "")
    what = f"{provider}, {session['kind']}"
    detail = f"{name}: {what}, {session['state']}, {session['status']}"
    if session["problem"]:
        return problem("state", f"{detail}: {session['problem']}", "see relay-agentd logs")
    return ok("state", detail)


def _registered(session: Mapping[str, Any], relay: Mapping[str, Any]) -> Check:
    if session["agentId"] is None:
        mend = "wait for its first prompt, or a dialog of the provider to be answered"
        return warning("relay", "its conversation has not begun: it is no agent yet", mend)
    if relay["serves"]:
        return ok("relay", "it is registered, and its mail comes here")
    reason = relay["problem"] or "it is just being registered"
    return warning("relay", f"its mail does not come here now: {reason}", "relay-agentd doctor")


def _ways(delivery: Mapping[str, Any]) -> Iterator[Check]:
    ways = delivery["ways"]
    for way in ways:
        shown = f"{way['name']}: {way['state']}"
        shown += f" at {way['provedAt']}" if way["provedAt"] else ""
        yield (warning if way["state"] == "failed" else ok)(
            "way", f"{shown} ({way['detail']})" if way["detail"] else shown
        )
    if ways and not any(way["state"] in _OPEN_WAYS for way in ways):
        mend = "answer what the provider asks in its terminal, or start the session again"
        yield problem("way", "no way into this session works", mend)


def _mail(delivery: Mapping[str, Any]) -> Check:
    waiting, on_the_way = delivery["waiting"], delivery["onTheWay"]
    proof = delivery["lastProof"]
    seen = f"the last proof came {proof['at']} by {proof['via']}" if proof else "no proof so far"
    detail = f"{counted(waiting, 'message')} waiting, {on_the_way} on the way; {seen}"
    if not (waiting or on_the_way) or delivery["reachability"] == "poll":
        return ok("mail", detail)
    return warning("mail", detail, "a busy session takes them after its step; look again")


def _left_over(patient: Patient) -> Iterator[Check]:
    """Only with a daemon: else its sessions may just wait for it."""
    if patient.ping is None or not patient.paths.sessions.is_dir():
        return
    known = {listed["key"] for listed in patient.sessions}
    stale = [each.name for each in patient.paths.sessions.iterdir() if each.name not in known]
    if stale:
        detail = f"{counted(len(stale), 'folder')} of ended sessions in {patient.paths.sessions}"
        yield warning("left over", detail, "relay-agentd down; relay-agentd up removes them")
    else:
        yield ok("left over", "nothing of ended sessions")


def _roots(patient: Patient) -> Iterator[Check]:
    roots = patient.settings.launch_roots if patient.settings else ()
    for root in roots:
        if not root.is_dir():
            mend = "make it, or take it out of AGENT_RELAY_LAUNCH_ROOTS"
            yield problem("launch roots", f"{root} is not a folder", mend)
    shown = ", ".join(map(str, roots)) or "none: the relay may start nothing here"
    yield ok("launch roots", shown)


def not_there(target: str, error: AgentdError) -> Check:
    """The session that was asked for."""
    return problem("session", f"{target}: {error}", "relay-agentd ps lists those that run here")
