"""What a person's own Codex configuration lets a session do unasked, and how it is taken back.

Two things act outside every sandbox. Tools of other MCP servers run unasked where their server's
or their own approval mode says `approve`, or where they call themselves read-only. And commands
that Codex's rules allow run without the sandbox (see `policy`). Both are looked up once, at the
launch. Which servers there are is asked of Codex itself: it alone knows all the places where one
may be set up. Reads files, and runs the program for that one question; never writes.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from relay_launchers.base import ArgumentsRefused, LaunchRequest
from relay_launchers.discovery import ask

_OURS = "relay"
_SYSTEM = Path("/etc/codex")
_COMMENT = re.compile(r"#.*")
_RULE = re.compile(r"\bprefix_rule\s*\(")
_FORBIDDING = re.compile(r"""\bdecision\s*=\s*["'](?:prompt|forbidden)["']""")


def gate_servers(request: LaunchRequest, cwd: Path, options: Sequence[str]) -> list[str]:
    """Overrides for the app-server: in read-only other MCP servers are off; in guarded they ask
    before each of their tools, and those that a plugin brings, whose settings no override
    reaches, are off too. `cwd`: where the session works; `options`: the person's own for the
    app-server.

    Raises ArgumentsRefused: Codex cannot say which servers there are.
    """
    servers = _listed(request, cwd, options)
    if request.approval == "guarded":
        configured = _listed(request, cwd, [*options, "--disable", "plugins"])
        tools = _configured_tools(request.environment, cwd)
        gated = {
            name: _asking(tools.get(name, ())) if name in configured else _off(kind)
            for name, kind in servers.items()
        }
    else:
        gated = {name: _off(kind) for name, kind in servers.items()}
    if not gated:
        return []
    inner = ", ".join(f"{json.dumps(name)} = {settings}" for name, settings in gated.items())
    return ["-c", f"mcp_servers={{{inner}}}"]


def has_allowing_rules(environment: Mapping[str, str], cwd: Path) -> bool:
    """Whether Codex's rules let any command pass; in doubt they do."""
    folders = [place / "rules" for place in _places(environment, cwd)]
    files = [file for folder in folders for file in sorted(folder.glob("*.rules"))]
    return any(map(_allows, files))


def _listed(request: LaunchRequest, cwd: Path, options: Sequence[str]) -> dict[str, str]:
    """The name of each server but ours -> its kind of transport."""
    try:
        said = ask(
            [str(request.binary.path), *options, "mcp", "list", "--json"],
            request.environment,
            cwd,
        )
        return {
            str(each["name"]): str(each["transport"]["type"])
            for each in json.loads(said)
            if each["name"] != _OURS
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentsRefused(
            f"Codex cannot say which MCP servers it would start (`codex mcp list --json`: {error})."
            f" A {request.approval} session needs to know: mend that, or run it with"
            " --approval open."
        ) from error


def _off(kind: str) -> str:
    """A server of a plugin is unknown to the configuration, which therefore wants to know how it
    would be reached if it were on."""
    reached = "command" if kind == "stdio" else "url"
    return f'{{enabled = false, {reached} = "off"}}'


def _asking(tools: Sequence[str]) -> str:
    each = "".join(f', {json.dumps(tool)} = {{approval_mode = "prompt"}}' for tool in tools)
    return f'{{default_tools_approval_mode = "prompt", tools = {{{each.removeprefix(", ")}}}}}'


def _configured_tools(environment: Mapping[str, str], cwd: Path) -> dict[str, list[str]]:
    """The tools that have an approval mode of their own, which no server's mode overrides. All
    profiles and projects that might count are read; one too many is harmless."""
    found: dict[str, set[str]] = {}
    for place in _places(environment, cwd):
        for file in sorted(place.glob("*config.toml")):
            for server, tools in _tools_in(file):
                found.setdefault(server, set()).update(tools)
    return {server: sorted(tools) for server, tools in found.items()}


def _tools_in(file: Path) -> Iterator[tuple[str, list[str]]]:
    settings: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # a file that Codex cannot read either
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    servers = settings.get("mcp_servers")
    for name, server in servers.items() if isinstance(servers, dict) else ():
        tools = server.get("tools") if isinstance(server, dict) else None
        if isinstance(tools, dict):
            yield name, list(tools)


def _places(environment: Mapping[str, str], cwd: Path) -> list[Path]:
    """The folders in which Codex looks for configuration and rules."""
    home = environment.get("CODEX_HOME") or str(Path(environment.get("HOME", "~")) / ".codex")
    projects = [folder / ".codex" for folder in (cwd, *cwd.parents)]
    return [_SYSTEM, Path(home).expanduser(), *projects]


def _allows(file: Path) -> bool:
    try:
        text = _COMMENT.sub("", file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    # A rule that names no decision allows.
    return len(_RULE.findall(text)) > len(_FORBIDDING.findall(text))
