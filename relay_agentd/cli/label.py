"""`label`: what people call a session."""

import click

from relay_agentd.cli.completion import complete_agent
from relay_agentd.cli.output import is_terminal, one_line, print_json
from relay_agentd.cli.relay import find_agent, own_agent, relay


@click.command("label", short_help="Give a session a name for people.")
@click.argument("name", required=False)
@click.option(
    "--agent",
    metavar="ID",
    shell_complete=complete_agent,
    help="Which one, by id or label; without it the session one is in.",
)
@click.option("--clear", is_flag=True, help="Take its label away.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def label_command(name: str | None, agent: str | None, clear: bool, as_json: bool) -> None:
    """Call a session NAME: `relay-agentd send label:NAME ...` reaches it, `stop NAME` ends it.

    The session keeps the label when it is resumed.

    \b
    relay-agentd label backend
    relay-agentd label backend --agent laptop-claude-shop-1a2b3c4d
    relay-agentd label --clear --agent backend
    """
    from relay_agentd import relay_calls

    if (name is None) != clear:
        raise click.UsageError("give a NAME, or --clear")
    which = agent or own_agent()
    if which is None:
        raise click.UsageError(
            "this is not inside of a session: say which one with --agent ID"
            " (`relay-agentd agents` lists them)"
        )
    with relay() as client:
        agent_id = find_agent(client, which)["id"]
        changed = client.request(relay_calls.change_agent(agent_id, {"label": name}))
    label = one_line(changed.get("label") or "")
    if as_json:
        print_json(changed)
    elif not is_terminal():
        click.echo(f"{agent_id}\t{label}")
    else:
        click.echo(f"{agent_id} is called {label}" if label else f"{agent_id} has no label now")
