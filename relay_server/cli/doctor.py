"""`doctor`."""

import click

from relay_server.cli.common import merged, print_json, settings_options


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
@click.pass_context
def doctor(context: click.Context, /, as_json: bool, **given: str | None) -> None:
    """Check everything the relay needs, and say how to mend what is wrong.

    Changes nothing. Exit code: 0 all well, 1 otherwise.

    \b
    Examples:
      relay-server doctor
      relay-server doctor --json
    """
    from relay_server.services.doctor import examine

    options = merged(context, given)
    names = {"HOST": options["host"], "PORT": options["port"], "AGENT_RELAY_DB": options["db"]}
    found = examine(names)
    is_well = all(check.is_ok for check in found)
    if as_json:
        print_json({"ok": is_well, "checks": [check.as_json() for check in found]})
    else:
        for check in found:
            word = "ok     " if check.is_ok else "problem"
            mend = f"; {check.mend}" if check.mend else ""
            click.echo(f"{word}  {check.name}: {check.detail}{mend}")
    raise SystemExit(0 if is_well else 1)
