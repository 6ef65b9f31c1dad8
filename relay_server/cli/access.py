"""`token create|list|revoke`, `invite`. A secret stands alone on stdout: `$(...)` takes it."""

from typing import Any

import click

from relay_server.cli.common import (
    Expiry,
    database_option,
    note,
    opened,
    print_json,
    print_table,
    settings_options,
)
from relay_server.errors import Conflict, NotFound
from relay_server.wire import TokenScope, join_code


@click.group()
def token() -> None:
    """Tokens for people, machines and scripts, besides the server's own.

    A running relay knows of each change within a second.
    """


@token.command("create")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in TokenScope]),
    required=True,
    help="admin: everything; agent: what a machine and its sessions do; read: look only.",
)
@click.option("--machine", metavar="ID", help="Speaks only for agents of this machine.")
@click.option("--expires", type=Expiry(), metavar="WHEN", help="As 30d, 12h or a time (RFC 3339).")
@database_option
@click.pass_context
def create(
    context: click.Context,
    name: str,
    scope: str,
    machine: str | None,
    expires: str | None,
    db: str | None,
) -> None:
    """Make a token called NAME and print it, this once.

    \b
    Examples:
      relay-server token create phone --scope read
      relay-server token create ci --scope agent --expires 30d
      AGENT_RELAY_TOKEN=$(relay-server token create laptop --scope agent --machine laptop)
    """
    with opened(context, {"db": db}) as relay:
        given = {"name": name, "scope": scope, "machine": machine, "expiresAt": expires}
        made = relay.tokens.create(given)
    note(f"token {made['id']} ({_described(made)}) is shown only this once:")
    click.echo(made["token"])


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_option
@click.pass_context
def list_tokens(context: click.Context, as_json: bool, db: str | None) -> None:
    """List the tokens, without their secrets.

    \b
    Examples:
      relay-server token list
      relay-server token list --json
    """
    with opened(context, {"db": db}) as relay:
        found = relay.tokens.all()
    if as_json:
        print_json({"tokens": found})
        return
    fields = ("id", "name", "scope", "machine", "expiresAt", "createdAt", "lastUsedAt")
    columns = ("ID", "NAME", "SCOPE", "MACHINE", "EXPIRES", "CREATED", "LAST USED")
    print_table(columns, [[each[field] for field in fields] for each in found])


@token.command()
@click.argument("token_id", metavar="ID|NAME")
@database_option
@click.pass_context
def revoke(context: click.Context, token_id: str, db: str | None) -> None:
    """Make a token worthless.

    \b
    Examples:
      relay-server token revoke 3
      relay-server token revoke phone
    """
    with opened(context, {"db": db}) as relay:
        number = _number_of(token_id, relay.tokens.all())
        relay.tokens.delete(number)
    note(f"token {number} is revoked; a running relay refuses it within a second")


def _number_of(text: str, listed: list[dict[str, Any]]) -> int:
    """The id, or that of the one with this name. Raises: NotFound, Conflict."""
    if any(str(each["id"]) == text for each in listed):
        return int(text)
    named = [each["id"] for each in listed if each["name"] == text]
    if not named:
        raise NotFound(f"There is no token {text}; `relay-server token list` shows them.")
    if len(named) > 1:
        raise Conflict(f"Several tokens have that name: {', '.join(map(str, named))}. Say which.")
    return int(named[0])


def _described(made: dict[str, Any]) -> str:
    words = [f"{made['name']}: {made['scope']}"]
    if made["machine"]:
        words.append(f"machine {made['machine']}")
    words.append(f"until {made['expiresAt']}" if made["expiresAt"] else "without end")
    return ", ".join(words)


@click.command()
@click.option("--name", metavar="MACHINE", help="Bind the token to the machine with this id.")
@click.option("--url", metavar="URL", help="Where that machine reaches this relay.")
@click.option("--expires", type=Expiry(), metavar="WHEN", help="As 30d, 12h or a time (RFC 3339).")
@settings_options
@click.pass_context
def invite(
    context: click.Context,
    /,
    name: str | None,
    url: str | None,
    expires: str | None,
    **given: str | None,
) -> None:
    """Print the command that makes another machine join this relay.

    It carries a token of its own (scope agent): `relay-server token revoke` takes it back.

    \b
    Examples:
      relay-server invite --name laptop
      relay-server invite --url http://relay.tailnet.example:4850 --expires 90d
    """
    from relay_server.services.invite import reachable_at

    with opened(context, given) as relay:
        place = reachable_at(relay.settings, url)
        wanted = {"name": name or "invited", "scope": "agent", "machine": name}
        made = relay.tokens.create({**wanted, "expiresAt": expires})
        code = join_code(place.url, made["token"])
    for warning in place.warnings:
        note(warning)
    note(f"on the other machine (token {made['id']}, {_described(made)}):")
    click.echo(f"relay-agentd join {code}")
