"""The help pages: one screen each, and everything in them can be typed."""

import re
import shlex
from pathlib import Path

import click
import pytest

from relay_agentd.cli import cli

ALL = cli.list_commands(click.Context(cli))
# They print nothing of their own, or what only a shell reads.
_WITHOUT_JSON = {"attach", "serve", "mcp", "completion"}
_LINES, _COLUMNS = 46, 80


def command_of(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def page(name: str) -> list[str]:
    context = click.Context(
        command_of(name),
        info_name=name,
        parent=click.Context(cli, info_name="relay-agentd"),
        terminal_width=_COLUMNS,
    )
    return context.get_help().splitlines()


@pytest.mark.parametrize("name", ALL)
def test_a_page_fits_a_screen_and_has_no_line_that_is_cut(name: str) -> None:
    lines = page(name)

    assert len(lines) <= _LINES
    assert [line for line in lines if len(line) > _COLUMNS] == []


@pytest.mark.parametrize("name", ALL)
def test_the_examples_of_a_page_are_taken_as_they_stand(name: str, tmp_path: Path) -> None:
    examples = [line.strip() for line in page(name) if re.match(r"  \S.*", line)]
    lines = [
        line.partition(" | jq ")[0].partition("    ")[0].partition(" > ")[0]
        for line in examples
        if re.match(r"([A-Z_]+=\S+ |.* \| )?relay-agentd \w", line)
    ]
    for line in lines:
        command = line[line.index("relay-agentd ") :].replace("~/shop", str(tmp_path))
        words = shlex.split(command)[1:]
        if words[0] == name and "CODE" not in words:
            command_of(name).make_context(name, words[1:])


@pytest.mark.parametrize("name", [name for name in ALL if name not in _WITHOUT_JSON])
def test_what_prints_also_prints_json(name: str) -> None:
    option = next(each for each in command_of(name).params if "--json" in each.opts)

    assert isinstance(option, click.Option)
    assert option.help is not None
    assert "JSON" in option.help or name == "run"


@pytest.mark.parametrize("name", ALL)
def test_each_option_says_what_it_does_and_what_it_takes(name: str) -> None:
    options = [each for each in command_of(name).params if isinstance(each, click.Option)]

    assert [each.name for each in options if not each.help and not _lists_values(each)] == []
    unnamed = [each.name for each in options if _is_unnamed(each)]
    assert unnamed == []


def _lists_values(option: click.Option) -> bool:
    return isinstance(option.type, click.Choice)


def _is_unnamed(option: click.Option) -> bool:
    return not (option.is_flag or option.metavar or _lists_values(option))
