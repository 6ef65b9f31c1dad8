"""`run`: a provider in this terminal or in the background, on the relay."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli import machine
from relay_agentd.errors import FolderMissing
from relay_server.wire import ApprovalMode

if TYPE_CHECKING:
    from relay_agentd.autostart import Machine

_AFTER = "relay_agentd.after_the_dashes"


class _Run(click.Command):
    """Tells `run PROVIDER -- ARGS` from `run -- COMMAND`: click drops the two dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What comes before the dashes are options and the provider."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_AFTER] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


@click.command("run", cls=_Run, short_help="Run Claude Code or Codex, here or in the background.")
@click.option(
    "--approval",
    type=click.Choice([mode.value for mode in ApprovalMode]),
    help="What it may do unasked.",
)
@click.option("--label", metavar="NAME", help="What people call it.")
@click.option(
    "--tag", "tags", multiple=True, metavar="NAME", help="A group it belongs to. Repeatable."
)
@click.option("--cap", "caps", multiple=True, metavar="NAME", help="What it can do. Repeatable.")
@click.option(
    "--channel", "channels", multiple=True, metavar="NAME", help="Hear only these. Repeatable."
)
@click.option("--profile", metavar="NAME", help="A description from profiles.json.")
@click.option(
    "--cwd",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    metavar="FOLDER",
    help="Where it works (here).",
)
@click.option("--background", is_flag=True, help="Without a terminal: the daemon keeps it running.")
@click.option("--prompt", metavar="TEXT", help="What it begins with (only in the background).")
@click.option("--json", "as_json", is_flag=True, help="Print what was started in the background.")
@click.option(
    "--thread",
    type=click.Choice(["start", "auto"]),
    help="Codex: a new conversation, or the folder's latest if nobody writes it (start).",
)
@click.option("--no-autostart", is_flag=True, help="Do not start a relay or daemon.")
@click.argument("provider", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
def run_command(
    provider: str | None,
    arguments: tuple[str, ...],
    cwd: Path | None,
    no_autostart: bool,
    background: bool,
    prompt: str | None,
    as_json: bool,
    **description: Any,
) -> int:
    """Run PROVIDER (claude or codex) in this terminal, on the relay.

    Without a PROVIDER it is any program: `run -- COMMAND`. It is an agent as long as it runs, and
    `relay-agentd inbox` and `relay-agentd send` inside it speak for it.

    With --background the daemon owns it: when it dies, and after a restart of the machine, it goes
    on with the same conversation, until `relay-agentd stop`. Then only keys that the provider or
    the daemon knows itself are there, not those of this shell.

    The relay and the daemon are started when they are not there. ARGS after `--` go to the
    provider unchanged, and its exit status is what this exits with.

    \b
    relay-agentd run claude
    relay-agentd run --label backend --cap review codex
    relay-agentd run --approval read-only claude -- --resume
    relay-agentd run --label nightly -- ./build.sh --all
    relay-agentd run --thread auto codex
    relay-agentd run --background --prompt "watch the build" --cwd ~/shop codex
    """
    from relay_agentd.launch import Launch, run_session

    arguments += click.get_current_context().meta[_AFTER]
    provider = provider or _any_command(arguments, background=background)
    if not background and (prompt is not None or as_json):
        raise click.UsageError("--prompt and --json go with --background")
    if background:
        from relay_agentd.cli.run_background import run_background

        run_background(
            machine.here(_options(description)),
            provider=provider,
            arguments=arguments,
            cwd=cwd or _current_folder(),
            prompt=prompt,
            may_start=not no_autostart,
            as_json=as_json,
        )
        return 0
    return run_session(
        Launch(
            provider=provider,
            arguments=arguments,
            cwd=cwd or _current_folder(),
            machine=_with_thread(machine.here(_options(description)), description["thread"]),
            autostart=not no_autostart,
        )
    )


def _any_command(arguments: tuple[str, ...], *, background: bool) -> str:
    """The provider of a session that has none."""
    if background or not arguments:
        raise click.UsageError("name a provider (claude or codex), or a command after `--`")
    return "command"


def _with_thread(here: "Machine", thread: str | None) -> "Machine":
    """The option wins over the variable."""
    from relay_launchers.codex.threads import THREAD_VARIABLE

    if thread is None:
        return here
    return replace(here, environment={**here.environment, THREAD_VARIABLE: thread})


def _current_folder() -> Path:
    """Raises: FolderMissing."""
    try:
        return Path.cwd()
    except OSError as error:
        raise FolderMissing(
            f"the current folder cannot be used: {error.strerror}. Change to one that exists, "
            "or name one with --cwd."
        ) from error


def _options(given: dict[str, Any]) -> dict[str, str | None]:
    """As texts of the settings they win over."""
    return {
        "approval": given["approval"],
        "label": given["label"],
        "tags": ",".join(given["tags"]) or None,
        "capabilities": ",".join(given["caps"]) or None,
        "channels": ",".join(given["channels"]) or None,
        "profile": given["profile"],
    }
