"""`relay-server`: serve (the default), check-config. Prints and exits; decides nothing."""

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import click

from relay_server import __version__, log, settings
from relay_server.errors import StartupError
from relay_server.settings import Settings

_Command = Callable[..., Any]


def _options(command: _Command) -> _Command:
    for option in (
        click.option("--db", metavar="PATH", help="The database file [AGENT_RELAY_DB]."),
        click.option("--port", metavar="PORT", help="The port to listen on [PORT]."),
        click.option("--host", metavar="HOST", help="The address to bind [HOST]."),
    ):
        command = option(command)
    return command


def _load(host: str | None, port: str | None, db: str | None) -> Settings:
    return settings.load({"HOST": host, "PORT": port, "AGENT_RELAY_DB": db})


@click.group(invoke_without_command=True)
@click.version_option(__version__, prog_name="relay-server")
@_options
@click.pass_context
def main(context: click.Context, host: str | None, port: str | None, db: str | None) -> None:
    """The relay: message bus and dashboard of Agent Relay.

    Without a command it serves. Settings: option, then environment, then server.env, then
    default. Exit codes: 2 wrong settings, 3 database refused, 4 port or database taken.
    """
    context.obj = {"host": host, "port": port, "db": db}
    if context.invoked_subcommand is None:
        _serve(host, port, db)


def _merged(context: click.Context, given: dict[str, str | None]) -> dict[str, str | None]:
    return {name: given[name] or context.obj[name] for name in given}


@main.command()
@_options
@click.pass_context
def serve(context: click.Context, /, **given: str | None) -> None:
    """Run the relay in the foreground."""
    _serve(**_merged(context, given))


@main.command("check-config")
@_options
@click.pass_context
def check_config(context: click.Context, /, **given: str | None) -> None:
    """Print the settings in effect, secrets masked."""
    try:
        effective = _load(**_merged(context, given))
    except StartupError as error:
        _give_up(error)
    for name, value in settings.describe(effective):
        click.echo(f"{name}={value}")
    for name in settings.unknown_names():
        click.echo(f"relay-server: warning: nobody reads {name}", err=True)


def _serve(host: str | None, port: str | None, db: str | None) -> None:
    from relay_server.server import Server
    from relay_server.wiring import build

    log.configure()
    try:
        effective = _load(host, port, db)
        for name in settings.unknown_names():
            logging.getLogger(__name__).warning("nobody reads %s", name)
        relay = build(effective)
        try:
            server = Server(relay, effective)
        except BaseException:
            relay.stop()
            raise
    except StartupError as error:
        _give_up(error)
    server.stop_on_signals()
    click.echo(f"Agent Relay {__version__}: {server.url}  (database {effective.database})")
    server.run()


def _give_up(error: StartupError) -> NoReturn:
    for line in str(error).splitlines():
        click.echo(f"relay-server: {line}", err=True)
    raise SystemExit(error.exit_code)
