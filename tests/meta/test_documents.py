"""What the documents tell people to type, and point them to, exists."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.meta.repository import ROOT

DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "service_templates/README.md"),
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
    "scripts/examples/github-webhook.md",
)
PROGRAMS = {"relay-agentd": "relay_agentd", "relay-server": "relay_server"}
_FENCED = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:relay-agentd|relay-server|(?:\./)?scripts/\w+)[^`\n]*)`")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def _commands() -> Iterator[str]:
    """Each command line of the documents, without comments."""
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        lines = [line for block in _FENCED.findall(text) for line in block.splitlines()]
        for line in [*lines, *_INLINE.findall(text)]:
            if command := line.partition(" # ")[0].partition("   #")[0].strip():
                yield command


COMMANDS = sorted(set(_commands()))


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith(tuple(PROGRAMS))]
)
def test_a_documented_command_and_its_options_exist(command: str) -> None:
    program, *words = shlex.split(command)
    words = words[: words.index("--")] if "--" in words else words
    names = [word for word in words if re.fullmatch(r"[a-z-]+", word) and word[0] != "-"]

    explained = _explained(PROGRAMS[program], names)

    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert {option for option in options if option not in explained} == set()


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if re.match(r"(\./)?scripts/", command)]
)
def test_a_documented_script_exists(command: str) -> None:
    assert (ROOT / shlex.split(command)[0]).exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_documents_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent

    missing = [link for link in _LINK.findall((ROOT / document).read_text()) if link]

    assert [link for link in missing if not Path(folder / link).exists()] == []


def _explained(module: str, names: list[str]) -> str:
    """The help page of the command that the words name, in a group of commands too."""
    path = tuple(names[:1])
    explained = _help(module, path)
    for name in names[1:]:
        if not re.search(rf"^Commands:\n(.*\n)*?  {name}\b", explained, re.MULTILINE):
            break
        path += (name,)
        explained = _help(module, path)
    return explained


@cache
def _help(module: str, path: tuple[str, ...]) -> str:
    """The help page of a program or one of its commands."""
    argv = [sys.executable, "-m", module, *path, "--help"]
    done = subprocess.run(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
