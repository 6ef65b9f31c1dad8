"""`install` and `uninstall`: plain `claude` and `codex` sessions join by themselves."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay_agentd.cli import machine
from relay_agentd.cli.output import print_json, printable
from relay_agentd.errors import AgentdError

if TYPE_CHECKING:
    from relay_agentd.installing import Report
    from relay_launchers.install import Installer, InstallRequest

_PROVIDER = click.argument("provider", type=click.Choice(["claude", "codex"]))
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would be done, do nothing.")
_MOST_LINES = 30
"""Of one file's changes; what goes into a file of the person's is shorter."""
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class ProviderMissing(AgentdError):
    """The provider's program is not there, as a shell would report it."""

    exit_status = 127


@click.command("install", short_help="Let plain `claude` or `codex` sessions join by themselves.")
@_PROVIDER
@_DRY_RUN
@_JSON
def install_command(provider: str, dry_run: bool, as_json: bool) -> None:
    """Let plain `claude` or `codex` sessions join the relay by themselves.

    Claude Code gets a plugin, Codex an entry in its config.toml and a skill, in the folder that
    CLAUDE_CONFIG_DIR or CODEX_HOME names. `uninstall` puts everything back as it was. Sessions
    that `relay-agentd run` starts are not changed by it.

    \b
    relay-agentd install claude --dry-run
    relay-agentd install claude
    relay-agentd install codex
    """
    from relay_agentd.installing import install

    installer, _ = _installer(provider)
    report = install(installer, _request(provider, installer), dry_run=dry_run)
    _print(report, provider, dry_run=dry_run, as_json=as_json)


@click.command("uninstall", short_help="Undo `install`; leaves no trace.")
@_PROVIDER
@click.option("--purge", is_flag=True, help="Also what an installation that failed left behind.")
@_DRY_RUN
@_JSON
def uninstall_command(provider: str, purge: bool, dry_run: bool, as_json: bool) -> None:
    """Undo `install`: your files are again what they were, byte for byte.

    From a file that was changed since only what is ours is taken out. Sessions that run stay on
    the relay until they end.

    \b
    relay-agentd uninstall claude --dry-run
    relay-agentd uninstall claude
    """
    from relay_agentd.installing import folder_for, uninstall
    from relay_agentd.paths import Paths

    installer, home = _installer(provider)
    data = folder_for(provider, home, Paths.default())
    report = uninstall(installer, home, data, dry_run=dry_run, purge=purge)
    _print(report, provider, dry_run=dry_run, as_json=as_json)


def _installer(provider: str) -> "tuple[Installer, Path]":
    from relay_launchers.registry import find_installer

    installer = find_installer(provider)
    return installer, installer.home(os.environ).absolute()


def _request(provider: str, installer: "Installer") -> "InstallRequest":
    """Raises: ProviderMissing."""
    from relay_agentd.installing import request_for
    from relay_agentd.paths import Paths
    from relay_launchers.base import ProviderNotFound
    from relay_launchers.environment import without_session
    from relay_launchers.registry import find_provider

    machine.settings()  # what does not parse would keep every session off the relay
    environment = without_session(os.environ)
    try:
        binary = find_provider(provider).find(environment) if installer.needs_program else None
    except ProviderNotFound as error:
        raise ProviderMissing(str(error)) from error
    return request_for(provider, installer, binary, Paths.default(), environment)


def _print(report: "Report", provider: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json(provider, dry_run=dry_run))
        return
    would = dry_run and not report.state.startswith(("already", "not"))
    click.echo(f"{provider}: {'would be ' if would else ''}{report.state}")
    for path, what in report.writes.items():
        click.echo(f"  {what}: {printable(str(path))}")
        lines = report.diff(path) if dry_run else []
        for line in lines[:_MOST_LINES]:
            click.echo(f"      {printable(line)}")
        if len(lines) > _MOST_LINES:
            click.echo(f"      ... {len(lines) - _MOST_LINES} more lines (--json shows all)")
    for argv in report.runs:
        click.echo(f"  runs: {printable(' '.join(argv))}")
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.")
    elif report.state in ("installed", "updated"):
        click.echo(f"Sessions that you start with `{provider}` from now on join by themselves.")
