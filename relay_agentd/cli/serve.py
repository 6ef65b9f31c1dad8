"""`serve`: the daemon in the foreground."""

import click

from relay_agentd.cli import machine


@click.command("serve", short_help="Run the daemon in the foreground (what a service starts).")
def serve_command() -> int:
    """Run this machine's daemon in the foreground until SIGTERM or Ctrl-C.

    `run` and `up` start it in the background when it is not there; a service unit runs this.

    \b
    relay-agentd serve
    """
    from relay_agentd.daemon import run_daemon

    here = machine.here()
    return run_daemon(here.settings, here.paths)
