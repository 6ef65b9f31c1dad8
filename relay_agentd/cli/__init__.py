"""The command line: `relay-agentd`.

A command's module is imported when it is called (or listed by ``--help``), and imports what is
heavy inside its function, so that ``--help`` stays fast. Commands parse and print; what they do
lives elsewhere. Here alone an error becomes one line on stderr and an exit status.
"""

import os
import sys
from importlib import import_module
from typing import Any, NoReturn, cast

import click

from relay_agentd.errors import AgentdError

# Heading → command → where it lives: the order is the order of `--help`.
_SECTIONS: dict[str, dict[str, str]] = {
    "Sessions on this machine": {
        "run": "relay_agentd.cli.run",
        "ps": "relay_agentd.cli.sessions",
        "logs": "relay_agentd.cli.logs",
        "attach": "relay_agentd.cli.attach",
        "stop": "relay_agentd.cli.sessions",
        "install": "relay_agentd.cli.install",
        "uninstall": "relay_agentd.cli.install",
    },
    "Talk over the relay": {
        "agents": "relay_agentd.cli.agents",
        "send": "relay_agentd.cli.send",
        "inbox": "relay_agentd.cli.messages",
        "thread": "relay_agentd.cli.messages",
        "explain": "relay_agentd.cli.explain",
        "tail": "relay_agentd.cli.tail",
        "label": "relay_agentd.cli.label",
    },
    "Work": {
        "tasks": "relay_agentd.cli.tasks",
        "task": "relay_agentd.cli.tasks",
        "claim": "relay_agentd.cli.claim",
    },
    "What sessions ask you": {
        "approvals": "relay_agentd.cli.approvals",
        "approve": "relay_agentd.cli.decisions",
        "deny": "relay_agentd.cli.decisions",
    },
    "Machinery": {
        "doctor": "relay_agentd.cli.doctor",
        "demo": "relay_agentd.cli.demo",
        "join": "relay_agentd.cli.join",
        "up": "relay_agentd.cli.background",
        "down": "relay_agentd.cli.background",
        "serve": "relay_agentd.cli.serve",
        "mcp": "relay_agentd.cli.mcp",
        "completion": "relay_agentd.cli.completion",
    },
}
_MODULES = {name: module for section in _SECTIONS.values() for name, module in section.items()}

_INTERRUPTED = 130
_BROKEN_PIPE = 141


class LazyGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, in the order of the help page."""
        return list(_MODULES)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import one command."""
        if cmd_name not in _MODULES:
            return None
        return cast(
            "click.Command", getattr(import_module(_MODULES[cmd_name]), f"{cmd_name}_command")
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings."""
        widest = max(map(len, _MODULES))
        for heading, commands in _SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(f"{name:{widest}}", self._summary(ctx, name)) for name in commands]
                )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interruption and a reader that left are ends like any other."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                click.echo(err=True)  # after the ^C that the terminal shows
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            # `relay-agentd tail | head -1`: the reader has what it wanted. Python would flush
            # into the broken pipe once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(_BROKEN_PIPE) from None

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=70) if command else ""


def _print_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from relay_agentd import __version__

        click.echo(f"relay-agentd {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="`relay-agentd COMMAND --help` shows options and examples.",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """AI coding sessions that find each other, talk and hand over work.

    \b
    relay-agentd run claude             Claude Code in this terminal, on the relay
    relay-agentd run codex              Codex in this terminal, on the relay
    relay-agentd send TO "a question"   speak to a session from anywhere
    """


def main() -> NoReturn:
    """Run one command and exit with its status."""
    try:
        status: Any = cli.main(prog_name="relay-agentd", standalone_mode=False)
    except click.UsageError as error:
        sys.exit(_report_wrong_use(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AgentdError as error:
        sys.exit(_report(error))
    except click.Abort:  # interrupted before a command was found
        sys.exit(_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _report(error: AgentdError) -> int:
    from relay_agentd.cli.failure import explain_failure

    for line in explain_failure(error):
        _complain(line)
    return error.exit_status


def _report_wrong_use(error: click.UsageError) -> int:
    said = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "relay-agentd"
    _complain(f"{said[:1].lower()}{said[1:]}. `{command} --help` shows how.")
    return error.exit_code


def _complain(line: str) -> None:
    from relay_agentd.cli.output import wrapped

    click.echo(wrapped(f"relay-agentd: {line}", stream=sys.stderr), err=True)
