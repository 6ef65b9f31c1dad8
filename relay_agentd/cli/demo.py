"""`demo`: two scripted agents on the relay, for a look without any provider."""

import click

from relay_agentd.cli import machine
from relay_agentd.cli.output import is_terminal, one_line, print_json
from relay_agentd.cli.relay import relay

_COLOURS = {"ada": "cyan", "ben": "yellow"}


@click.command("demo", short_help="Let two scripted agents talk, for a look without a provider.")
@click.option("--forever", is_flag=True, help="Start over until Ctrl-C.")
@click.option(
    "--pause",
    type=click.FloatRange(0, 60),
    default=1.5,
    show_default=True,
    metavar="SECONDS",
    help="Between two steps.",
)
@click.option("--no-autostart", is_flag=True, help="Do not start a relay that is not there.")
@click.option("--json", "as_json", is_flag=True, help="Print each step as a line of JSON.")
def demo_command(forever: bool, pause: float, no_autostart: bool, as_json: bool) -> None:
    """Let two scripted agents talk and hand over work on the relay, about 15 seconds.

    Needs no account, no Claude Code and no Codex. Watch it in the dashboard.

    \b
    relay-agentd demo
    relay-agentd demo --forever --pause 3
    """
    from relay_agentd.autostart import ensure_relay
    from relay_agentd.demo import run_demo

    here = machine.here()
    ensure_relay(here, may_start=not no_autostart)
    if not as_json:
        click.echo(f"Watch it: {here.settings.url}")
    with relay() as client:
        say = _say_json if as_json else _say
        run_demo(client, say, pause=pause, rounds=None if forever else 1)
    if as_json:
        return
    click.echo(
        f"Done. The conversation is still there: {here.settings.url}, or `relay-agentd thread ID`."
    )


def _say_json(who: str, what: str) -> None:
    print_json({"who": who, "what": what}, lines=True)


def _say(who: str, what: str) -> None:
    name = who.split("-")[1] if who.startswith("demo-") else who
    shown = click.style(f"{name:>6}", fg=_COLOURS.get(name), bold=True) if is_terminal() else name
    click.echo(f"{shown}  {one_line(what)}")
