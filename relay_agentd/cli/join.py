"""`join`: this machine on another machine's relay."""

import os
import sys
from pathlib import Path

import click

from relay_agentd.cli import machine
from relay_agentd.cli.output import is_terminal, one_line, print_json, progress
from relay_server.wire import read_join_code

_WHAT_NOW = {
    "restarted": "The daemon was restarted and serves it.",
    "not running": "No daemon runs now; `relay-agentd run` or `relay-agentd up` starts it.",
    "has sessions": "The daemon still serves the old relay, because sessions are running. When they"
    " have ended: relay-agentd down, relay-agentd up",
    "not started from here": "The daemon still serves the old relay: restart the service that runs"
    " it, or end it and `relay-agentd up`.",
}


@click.command("join", short_help="Put this machine on another machine's relay.")
@click.argument("code", required=False)
@click.option("--dry-run", is_flag=True, help="Only try it: write and restart nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def join_command(code: str | None, dry_run: bool, as_json: bool) -> None:
    """Put this machine on the relay that CODE names; `relay-server invite` prints it there.

    CODE holds a secret. Without CODE, or with `-`, it is read from stdin and not shown, and so
    does not end up in the shell's history. It is written to agentd.env, which only you can read.

    \b
    relay-agentd join
    ssh me@relay-host relay-server invite | relay-agentd join -
    relay-agentd join CODE --dry-run
    """
    from relay_agentd.machine_link import restart_daemon, try_link, write_link
    from relay_agentd.settings import overruled

    try:
        url, token = read_join_code(_given(code))
    except ValueError as error:
        raise click.UsageError(f"{error}. `relay-server invite` prints one.") from None
    here = machine.here({"url": url, "token": token or None})  # refuses what is no setting
    url = here.settings.url
    with progress(f"asking {one_line(url)}"):
        version = try_link(url, token)
    result: dict[str, str | list[str] | bool | None] = {
        "url": url,
        "version": version,
        "envFile": str(here.paths.env_file),
        "isDryRun": dry_run,
        "daemon": None,
        "overruledBy": list(overruled(os.environ, {"url": url, "token": token})),
    }
    if not dry_run:
        write_link(here.paths, url, token)
        with progress("restarting the daemon"):
            result["daemon"] = restart_daemon(here, url, token).value
    if as_json:
        print_json(result)
    elif not is_terminal():
        click.echo("\t".join([url, version, str(result["daemon"] or "")]))
    else:
        _tell(url, version, here.paths.env_file, result["daemon"] if not dry_run else None)
    _warn(result["overruledBy"], version)


def _given(code: str | None) -> str:
    if code not in (None, "-"):
        return str(code)
    if sys.stdin.isatty():
        return str(click.prompt("Join code (not shown)", hide_input=True, err=True))
    # `invite` may say more than the code.
    words = sys.stdin.read().split()
    return next((word for word in words if _is_code(word)), "".join(words))


def _is_code(word: str) -> bool:
    try:
        read_join_code(word)
    except ValueError:
        return False
    return True


def _tell(url: str, version: str, env_file: Path, daemon: object) -> None:
    if daemon is None:
        click.echo(f"The relay at {one_line(url)} (version {one_line(version)}) takes this code.")
        click.echo(f"Nothing was changed; without --dry-run {env_file} would name it.")
        return
    click.echo(f"This machine is on the relay at {one_line(url)} (version {one_line(version)}).")
    click.echo(f"{env_file} names it, with its token.")
    click.echo(_WHAT_NOW[str(daemon)])


def _warn(overruled_by: object, version: str) -> None:
    from relay_agentd import __version__

    if isinstance(overruled_by, list) and overruled_by:
        names = " and ".join(overruled_by)
        click.echo(
            f"relay-agentd: {names} of this shell's environment says something else and wins: "
            f"unset {' '.join(overruled_by)}",
            err=True,
        )
    if version.split(".")[:2] != __version__.split(".")[:2]:
        click.echo(
            f"relay-agentd: the relay has version {one_line(version)}, this machine"
            f" {__version__}: upgrade the older one",
            err=True,
        )
