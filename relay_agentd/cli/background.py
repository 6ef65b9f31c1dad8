"""`up` and `down`: relay and daemon in the background of this machine."""

import shutil
import sys
from pathlib import Path

import click

from relay_agentd.cli import machine
from relay_agentd.cli.output import print_json, progress
from relay_agentd.errors import AgentdError, DaemonUnreachable

_NAMES = {"relay_server": "relay", "relay_agentd": "daemon"}


@click.command("up", short_help="Start relay and daemon in the background.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def up_command(as_json: bool) -> None:
    """Start relay and daemon in the background, where they are not running already.

    `run` does the same when it needs to. Neither is started again with the machine.

    \b
    relay-agentd up
    AGENT_RELAY_URL=http://localhost:4851 relay-agentd up      on another port
    """
    from relay_agentd.autostart import ensure_running

    here = machine.here()
    url = here.settings.url
    with progress("starting what is not there"):
        started = ensure_running(here)
    if as_json:
        print_json({"url": url, "started": {"relay": started.relay, "daemon": started.daemon}})
        return
    click.echo(f"relay   {_said(started.relay)}: {url}")
    click.echo(f"daemon  {_said(started.daemon)}")
    program = _program()
    click.echo(
        f"\nDashboard: {url}\n\nNext:\n"
        f"  {program} demo          two scripted agents talk, for a look\n"
        f"  {program} run claude    Claude Code in this terminal, on the relay\n"
        f"  {program} run codex     Codex in this terminal, on the relay\n"
        f"  {program} --help        everything else\n"
        f"Stop:\n"
        f"  {program} down"
    )


@click.command("down", short_help="Stop the relay and the daemon that were started here.")
@click.option("--force", is_flag=True, help="End running sessions first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def down_command(force: bool, as_json: bool) -> None:
    """Stop the relay and the daemon that `up`, `run` or `demo` started, and nothing else.

    What a service manager runs is left to it.

    \b
    relay-agentd down
    relay-agentd down --force
    """
    from relay_agentd.autostart import end_started
    from relay_agentd.paths import Paths

    with progress("ending what was started here"):
        _end_sessions(force=force)
        ended = end_started(Paths.default())
    if as_json:
        print_json(
            {"stopped": [{"name": _NAMES[module], "pid": process.pid} for module, process in ended]}
        )
        return
    for module, process in ended:
        click.echo(f"{_NAMES.get(module, module)} stopped (pid {process.pid})")
    if not ended:
        click.echo("Nothing that was started from here is running.")


def _end_sessions(*, force: bool) -> None:
    """A running session's launcher would start the daemon again, so sessions come first."""
    try:
        sessions = machine.daemon().call("ps")["sessions"]
        # Those that people started themselves go on without the daemon.
        ours = [session for session in sessions if session["kind"] != "joined"]
        names = [str(session.get("agentId") or session["key"]) for session in ours]
        if names and not force:
            raise AgentdError(
                f"sessions are running: {', '.join(names)}."
                " End them first (`relay-agentd stop ID`), or all of them with --force"
            )
        for name in names:
            machine.daemon().call("stop", target=name, force=False, timeout=20.0)
    except DaemonUnreachable:
        return


def _said(started: bool) -> str:
    return "started" if started else "already running"


def _program() -> str:
    """How the person can call us: by name where that finds us, else by a path."""
    ours = Path(sys.argv[0])
    if ours.name == "__main__.py":
        return f"{sys.executable} -m relay_agentd"
    found = shutil.which("relay-agentd")
    if found and Path(found).resolve() == ours.resolve():
        return "relay-agentd"
    try:
        return str(ours.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(ours.absolute())
