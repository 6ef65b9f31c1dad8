"""`ps` and `stop`: the sessions of this machine, as its daemon knows them."""

from typing import Any

import click

from relay_agentd.cli.completion import complete_session
from relay_agentd.cli.machine import daemon
from relay_agentd.cli.output import STATUS_STYLES, is_terminal, print_json, print_table, progress

_COLUMNS = (
    *("AGENT", "KIND", "STATE", "STATUS", "PROVIDER", "APPROVAL", "PID", "FOLDER", "LABEL"),
    "PROBLEM",
)
_STATE_STYLES = {"RUNNING": "green", "BACKOFF": "yellow", "FATAL": "red"}


@click.command("ps", short_help="List the sessions of this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps_command(as_json: bool) -> None:
    """List the sessions of this machine.

    A background session that died is started again after a pause (BACKOFF); one that dies again
    and again is given up (FATAL). PROBLEM says why.

    \b
    relay-agentd ps
    relay-agentd ps --json
    """
    answer = daemon().call("ps")
    if as_json:
        print_json(answer)
        return
    print_table(
        _COLUMNS,
        [_row(session) for session in answer["sessions"]],
        styles={"STATUS": STATUS_STYLES, "STATE": _STATE_STYLES},
        keep={"LABEL", "PROBLEM"},
        empty="No session runs here. Start one: relay-agentd run claude",
    )


@click.command("stop", short_help="End a session of this machine.")
@click.argument("target", metavar="ID", shell_complete=complete_session)
@click.option("--force", is_flag=True, help="Do not wait for an orderly end: kill it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stop_command(target: str, force: bool, as_json: bool) -> None:
    """End a session of this machine; ID is an agent's id or label, or what `ps` shows.

    The provider is asked to end (SIGTERM) and gets five seconds for it. A background session ends
    for good; one that was given up (FATAL) is listed no more.

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


def _row(session: dict[str, Any]) -> list[Any]:
    names = ("kind", "state", "status", "provider", "approval", "pid", "cwd", "label")
    problem = session.get("problem")
    if session.get("restarts"):
        problem = f"restarted {session['restarts']} times{f': {problem}' if problem else ''}"
    name = session.get("agentId") or session["key"]
    return [name, *(session.get(each) for each in names), problem]
