"""`logs`: what happened in a session, from the provider's own record."""

import click

from relay_agentd.cli.completion import complete_session


@click.command("logs", short_help="Show what happened in a session.")
@click.argument("target", metavar="ID", shell_complete=complete_session)
@click.option(
    "-n", "--lines", "count", type=click.IntRange(1, 100_000), default=50, show_default=True,
    metavar="N", help="How many entries.",
)  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added; Ctrl-C ends it.")
@click.option("--json", "as_json", is_flag=True, help="Print each entry as a line of JSON.")
def logs_command(target: str, count: int, follow: bool, as_json: bool) -> None:
    """Show what a session of this machine said and did, also after its end.

    ID is an agent's id or label, or what `ps` shows.

    \b
    relay-agentd logs laptop-codex-shop-1a2b3c4d
    relay-agentd logs backend -n 200 -f
    """
    from relay_agentd.cli.conversation_view import View

    view = View.of(target, as_json=as_json)
    view.show_tail(count)
    if follow:
        view.follow()
