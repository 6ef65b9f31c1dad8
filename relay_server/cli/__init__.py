"""`relay-server`: the commands, gathered. Each prints and exits, and decides nothing."""

import click

from relay_server import __version__
from relay_server.cli.access import invite, token
from relay_server.cli.backup import backup, restore
from relay_server.cli.common import settings_options
from relay_server.cli.doctor import doctor
from relay_server.cli.integrations import integration
from relay_server.cli.serve import check_config, run, serve


@click.group(invoke_without_command=True)
@click.version_option(__version__, prog_name="relay-server")
@settings_options
@click.pass_context
def main(context: click.Context, host: str | None, port: str | None, db: str | None) -> None:
    """The relay: message bus and dashboard of Agent Relay.

    Without a command it serves. Settings: option, then environment, then server.env, then
    default. Exit codes: 1 not done, 2 wrong use or settings, 3 database refused, 4 port or
    database taken.
    """
    context.obj = {"host": host, "port": port, "db": db}
    if context.invoked_subcommand is None:
        run(**context.obj)


for command in (serve, check_config, token, integration, invite, backup, restore, doctor):
    main.add_command(command)
