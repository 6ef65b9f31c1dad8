"""What the commands share: options, the database, durations, tables, and how they give up."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click

from relay_server import settings
from relay_server.clock import SystemClock, from_rfc3339, to_rfc3339
from relay_server.errors import InvalidRequest, RelayError, StartupError, Unavailable
from relay_server.settings import Settings

if TYPE_CHECKING:
    from relay_server.services.integrations import Integrations
    from relay_server.services.tokens import Tokens

_Command = Callable[..., Any]
_Given = Mapping[str, str | None]
_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


def database_option(command: _Command) -> _Command:
    """`--db`."""
    return click.option("--db", metavar="PATH", help="The database file [AGENT_RELAY_DB].")(command)


def settings_options(command: _Command) -> _Command:
    """`--host`, `--port`, `--db`."""
    for option in (
        database_option,
        click.option("--port", metavar="PORT", help="The port to listen on [PORT]."),
        click.option("--host", metavar="HOST", help="The address to bind [HOST]."),
    ):
        command = option(command)
    return command


def merged(context: click.Context, given: _Given) -> dict[str, str | None]:
    """The command's own options, else those given before its name."""
    return {name: given.get(name) or before for name, before in context.find_root().obj.items()}


def load(host: str | None, port: str | None, db: str | None) -> Settings:
    """Raises: BadSettings."""
    return settings.load({"HOST": host, "PORT": port, "AGENT_RELAY_DB": db})


def give_up(error: StartupError) -> NoReturn:
    """Its lines, and its exit code."""
    for line in str(error).splitlines():
        note(line)
    raise SystemExit(error.exit_code)


@contextmanager
def failures_explained() -> Iterator[None]:
    """What the relay's parts refuse, as one line and an exit code."""
    try:
        yield
    except StartupError as error:
        give_up(error)
    except RelayError as error:
        note(error.detail)
        if isinstance(error, Unavailable):
            raise SystemExit(3) from None
        raise SystemExit(2 if isinstance(error, InvalidRequest) else 1) from None
    except OSError as error:
        note(f"{error.filename or 'the system'}: {error.strerror}")
        raise SystemExit(3) from None


class Opened(NamedTuple):
    """What commands work with."""

    settings: Settings
    tokens: "Tokens"
    integrations: "Integrations"


@contextmanager
def opened(context: click.Context, given: _Given) -> Iterator[Opened]:
    """The database, whether a relay runs or not; failures inside are explained."""
    from relay_server.services.access import Access
    from relay_server.services.integrations import Integrations
    from relay_server.services.tokens import Tokens
    from relay_server.store.beside import open_beside

    with failures_explained():
        effective = load(**merged(context, given))
        database = open_beside(effective.database)
        try:
            clock = SystemClock()
            access = Access(effective, database, clock)
            yield Opened(
                effective,
                Tokens(database, clock, access),
                Integrations(effective, database, clock, access),
            )
        finally:
            database.close()


class Expiry(click.ParamType[str]):
    """`30d`, `12h`, `45m`, `2w`, or a time of RFC 3339; as RFC 3339."""

    name = "expiry"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        match = re.fullmatch(r"(\d{1,5})([mhdw])", value, re.ASCII)
        try:
            if match is None:
                from_rfc3339(value)
                return str(value)
            return to_rfc3339(SystemClock().now_ms() + int(match[1]) * _UNITS_MS[match[2]])
        except ValueError:
            self.fail("expected as 30d, 12h, 45m, 2w or 2026-11-22T16:41:00Z", param, ctx)


def note(text: str) -> None:
    """For the person: on stderr, so that stdout holds only what was asked for."""
    click.echo(f"relay-server: {text}", err=True)


def print_json(value: Any) -> None:
    """For programs."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned, with headings; nothing of what is shown can hold a control character."""
    lines = [columns, *[["-" if cell is None else str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
