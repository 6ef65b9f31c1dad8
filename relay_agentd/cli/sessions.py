"""`ps` and `stop`: the sessions of this machine, as its daemon knows them."""

from collections.abc import Mapping
from typing import Any

import click

from relay_agentd.cli.completion import complete_session
from relay_agentd.cli.machine import daemon
from relay_agentd.cli.output import (
    STATUS_STYLES,
    is_terminal,
    one_line,
    print_json,
    print_table,
    progress,
    wrapped,
)
from relay_agentd.doctor import counted

COLUMNS = (
    *("AGENT", "STATE", "STATUS", "LABEL", "KIND", "PROVIDER", "APPROVAL", "PID", "FOLDER"),
    "PROBLEM",
)
_FIELDS = ("state", "status", "label", "kind", "provider", "approval", "pid", "cwd")
_STATE_STYLES = {"RUNNING": "green", "BACKOFF": "yellow", "FATAL": "red"}


@click.command("ps", short_help="List the sessions of this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps_command(as_json: bool) -> None:
    """List the sessions of this machine.

    A background session that died is started again after a pause (BACKOFF); one that dies again
    and again is given up (FATAL). Below the list stands why.

    \b
    relay-agentd ps
    relay-agentd ps --json
    """
    answer = daemon().call("ps")
    if as_json:
        print_json(answer)
        return
    sessions = answer["sessions"]
    # A sentence needs a line of its own where a person reads it.
    columns = COLUMNS[:-1] if is_terminal() else COLUMNS
    rows = [[_name(each), *map(each.get, _FIELDS), _problem(each)] for each in sessions]
    print_table(
        columns,
        [row[: len(columns)] for row in rows],
        styles={"STATUS": STATUS_STYLES, "STATE": _STATE_STYLES},
        empty="No session runs here. Start one: relay-agentd run claude",
    )
    for each in sessions if is_terminal() else ():
        if problem := _problem(each):
            click.secho(wrapped(one_line(f"! {_name(each)}: {problem}"), indent=2), fg="yellow")


@click.command("stop", short_help="End a session of this machine.")
@click.argument("target", metavar="ID", shell_complete=complete_session)
@click.option("--force", is_flag=True, help="Do not wait for an orderly end: kill it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stop_command(target: str, force: bool, as_json: bool) -> None:
    """End a session of this machine.

    ID is an agent's id or label, or what `ps` shows. The provider is asked to end (SIGTERM) and
    gets five seconds for it. A background session ends for good; one that was given up (FATAL) is
    listed no more.

    \b
    relay-agentd stop laptop-claude-shop-1a2b3c4d
    relay-agentd stop backend --force
    """
    with progress(f"ending {target}"):
        answer = daemon().call("stop", target=target, force=force, timeout=20.0)
    if as_json:
        print_json({"stopped": target, **answer})
    else:
        click.echo(f"{target} stopped" if is_terminal() else target)


def _name(session: Mapping[str, Any]) -> str:
    return str(session.get("agentId") or session["key"])


def _problem(session: Mapping[str, Any]) -> str | None:
    restarts, problem = session.get("restarts"), session.get("problem")
    again = f"started again {counted(restarts, 'time')}" if restarts else ""
    return ": ".join(each for each in (again, problem) if each) or None
