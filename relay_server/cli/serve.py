"""`serve`, `check-config`."""

import logging

import click

from relay_server import __version__, log, settings
from relay_server.cli.common import give_up, load, merged, note, settings_options
from relay_server.errors import StartupError


@click.command()
@settings_options
@click.pass_context
def serve(context: click.Context, /, **given: str | None) -> None:
    """Run the relay in the foreground.

    \b
    Examples:
      relay-server
      relay-server serve --port 4900 --db ./relay.db
      AGENT_RELAY_TOKEN=... relay-server serve --host 0.0.0.0
    """
    run(**merged(context, given))


@click.command("check-config")
@settings_options
@click.pass_context
def check_config(context: click.Context, /, **given: str | None) -> None:
    """Print the settings in effect, secrets masked.

    \b
    Examples:
      relay-server check-config
      relay-server check-config --host 0.0.0.0
    """
    try:
        effective = load(**merged(context, given))
    except StartupError as error:
        give_up(error)
    for name, value in settings.describe(effective):
        click.echo(f"{name}={value}")
    for name in settings.unknown_names():
        note(f"warning: nobody reads {name}")


def run(host: str | None, port: str | None, db: str | None) -> None:
    """Serve until a signal."""
    from relay_server.server import Server
    from relay_server.wiring import build

    log.configure()
    try:
        effective = load(host, port, db)
        for name in settings.unknown_names():
            logging.getLogger(__name__).warning("nobody reads %s", name)
        relay = build(effective)
        try:
            server = Server(relay, effective)
        except BaseException:
            relay.stop()
            raise
    except StartupError as error:
        give_up(error)
    server.stop_on_signals()
    click.echo(f"Agent Relay {__version__}: {server.url}  (database {effective.database})")
    server.run()
