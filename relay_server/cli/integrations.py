"""`integration add|list|remove`. The token stands alone on stdout: `$(...)` takes it."""

from typing import Any

import click

from relay_server.cli.common import database_option, note, opened, print_json, print_table
from relay_server.wire import IntegrationScope


@click.group()
def integration() -> None:
    """Outside systems that make tasks: monitoring, CI, tickets.

    A running relay knows of each change within a second. Those of AGENT_RELAY_INTEGRATIONS are
    listed too, and changed there.
    """


@integration.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in IntegrationScope]),
    multiple=True,
    required=True,
    help="What its token may do; may be repeated.",
)
@click.option("--target", "targets", multiple=True, help="Only to this target; may be repeated.")
@click.option("--channel", "channels", multiple=True, help="Only in this channel; may be repeated.")
@click.option("--callback-url", metavar="URL", help="Told what becomes of its tasks.")
@click.option("--callback-secret", metavar="TEXT", help="Signs what it is told.")
@click.option("--webhook-secret", metavar="TEXT", help="Checks what it sends.")
@database_option
@click.pass_context
def add(context: click.Context, /, db: str | None, **given: Any) -> None:
    """Add the integration NAME and print its token, this once.

    Without --target it may address everyone, without --channel use every channel.

    \b
    Examples:
      relay-server integration add alerts --scope tasks:create --target tag:ops
      relay-server integration add ci --scope tasks:create --scope tasks:read \\
          --channel builds --callback-url https://ci.example/hook --callback-secret S
    """
    fields = {
        "name": given["name"],
        "scopes": list(given["scopes"]),
        "targets": list(given["targets"]) or None,
        "channels": list(given["channels"]) or None,
        "callbackUrl": given["callback_url"],
        "callbackSecret": given["callback_secret"],
        "webhookSecret": given["webhook_secret"],
    }
    with opened(context, {"db": db}) as relay:
        made = relay.integrations.add(fields)
    note(f"the token of integration {made['name']} is shown only this once:")
    click.echo(made["token"])


@integration.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_option
@click.pass_context
def list_integrations(context: click.Context, as_json: bool, db: str | None) -> None:
    """List the integrations, without their secrets.

    \b
    Examples:
      relay-server integration list
      relay-server integration list --json
    """
    with opened(context, {"db": db}) as relay:
        found = relay.integrations.all()
    if as_json:
        print_json({"integrations": found})
        return
    columns = ("NAME", "SCOPES", "TARGETS", "CHANNELS", "CALLBACK", "ADDED")
    print_table(columns, [_row(each) for each in found])


def _row(found: dict[str, Any]) -> list[object]:
    return [
        found["name"],
        ",".join(found["scopes"]) or "(none)",
        _all_or(found["targets"]),
        _all_or(found["channels"]),
        found["callbackUrl"],
        found["createdAt"] or "(settings)",
    ]


def _all_or(names: list[str] | None) -> str:
    return "(all)" if names is None else ",".join(names) or "(none)"


@integration.command()
@click.argument("name")
@database_option
@click.pass_context
def remove(context: click.Context, name: str, db: str | None) -> None:
    """Remove an integration: its token is worthless from now on; its tasks stay.

    \b
    Example:
      relay-server integration remove alerts
    """
    with opened(context, {"db": db}) as relay:
        relay.integrations.remove(name)
    note(f"integration {name} is removed; a running relay refuses its token within a second")
