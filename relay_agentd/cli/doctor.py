"""`doctor`: is everything as it should be here, and if not, what to do."""

import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.output import is_terminal, one_line, print_json, progress, wrapped

if TYPE_CHECKING:
    from relay_agentd.doctor import Check, Patient

_INDENT = 15
_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command("doctor", short_help="Check everything, and say how to mend each thing.")
@click.option("--session", "target", metavar="ID", help="Look at one session in detail.")
@click.option("--send", is_flag=True, help="With --session: send it a message, wait for proof.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1, max=3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --send waits.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(target: str | None, send: bool, timeout: float, as_json: bool) -> int:
    """Check everything on this machine, and say how to mend each thing that is wrong.

    With --session it is one session: its processes, the ways by which messages get in, and what
    waits. That puts nothing into its context; --send does, with one short message.

    \b
    relay-agentd doctor
    relay-agentd doctor --session backend --send
    relay-agentd doctor --json | jq '.checks[] | select(.verdict != "ok")'

    Exit status: 0 when nothing is broken (warnings may be), 1 when something is.
    """
    from relay_agentd.doctor import Patient
    from relay_agentd.paths import Paths

    if send and target is None:
        raise click.UsageError("--send goes with --session")
    patient = Patient(paths=Paths.default(), environment=os.environ)
    found = _all(patient, quiet=as_json) if target is None else []
    known: dict[str, Any] = {}
    if target is not None:
        found, known = _one(patient, target, timeout if send else None)
    broken = [each for each in found if each.verdict == "problem"]
    if as_json:
        checks = [asdict(each) for each in found]
        print_json({"ok": not broken, "checks": checks, **({"known": known} if known else {})})
    else:
        if target is not None:
            _print(found)
        _sum_up(found)
    return 1 if broken else 0


def _all(patient: "Patient", *, quiet: bool) -> "list[Check]":
    from relay_agentd import doctor_daemon, doctor_machine, doctor_relay, doctor_sessions

    # Each knows what the ones before it found out.
    steps = {
        "this machine": doctor_machine.check,
        "the relay": doctor_relay.check,
        "the daemon": doctor_daemon.check,
        "sessions": doctor_sessions.check,
    }
    found: list[Check] = []
    for title, check in steps.items():
        with progress(f"looking at {title}"):
            some = list(check(patient))
        if not quiet:
            _print(some)
        found += some
    return found


def _one(
    patient: "Patient", target: str, within: float | None
) -> "tuple[list[Check], dict[str, Any]]":
    from relay_agentd.cli import machine
    from relay_agentd.doctor_send import send
    from relay_agentd.doctor_sessions import examine, inspected, not_there
    from relay_agentd.errors import ControlRefused

    patient.settings = machine.settings()
    try:
        known = dict(inspected(patient, target))
        found = list(examine(known))
        if within is not None:
            with progress(f"waiting for a message to arrive, at most {within:g} s"):
                found += send(patient, known, within=within)
    except ControlRefused as refusal:
        return [not_there(target, refusal)], {}
    return found, known


def _print(checks: "Iterable[Check]") -> None:
    for each in checks:
        if not is_terminal():
            fields = (each.verdict.value, each.name, each.detail, each.mend or "")
            click.echo("\t".join(one_line(field) for field in fields))
            continue
        mark, colour = _MARKS[each.verdict]
        said = wrapped(f"{mark} {each.name:<13}{one_line(each.detail)}", indent=_INDENT)
        click.echo(click.style(mark, fg=colour) + said.removeprefix(mark))
        if each.mend:
            arrow = " " * _INDENT + "→ "
            click.secho(wrapped(arrow + one_line(each.mend), indent=_INDENT + 2), bold=True)


def _sum_up(checks: "list[Check]") -> None:
    from relay_agentd.doctor import counted

    if not is_terminal():
        return
    counts = {verdict: sum(each.verdict == verdict for each in checks) for verdict in _MARKS}
    if counts["problem"] or counts["warning"]:
        found = [counted(counts[verdict], verdict) for verdict in ("problem", "warning")]
        click.echo(f"\n{', '.join(found)}")
    else:
        click.secho("\nEverything is as it should be.", fg="green")
