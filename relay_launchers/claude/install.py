"""How plain Claude Code sessions join: a plugin of ours from a folder of ours, installed for good.

    DATA/marketplace/                        rendered here: a marketplace with one plugin
    claude plugin marketplace add, install   HOME/settings.json names both, HOME/plugins has a copy

A session that `relay-agentd run` starts gets the plugin by `--plugin-dir`, under the same name:
Claude Code then leaves the installed one out altogether (tried on 2.1.197 and 2.1.330), so its
hooks and tools are never there twice. Plans only.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay_launchers.base import Command
from relay_launchers.claude.plugin_files import render_joined_plugin
from relay_launchers.environment import without_session
from relay_launchers.install import Change, InstallPlan, InstallRequest, Traces
from relay_launchers.json_text import JsonMembers
from relay_launchers.skill import SKILL_FILE, skill_text

MARKETPLACE: Final = "agent-relay"
PLUGIN: Final = f"relay@{MARKETPLACE}"
_ABOUT: Final = "Agent Relay (relay-agentd uninstall claude removes it)"


class ClaudeInstaller:
    """See `relay_launchers.install.Installer`."""

    needs_program = True

    def home(self, environment: Mapping[str, str]) -> Path:
        """The provider's own folder."""
        given = environment.get("CLAUDE_CONFIG_DIR")
        return (
            Path(given) if given else Path(environment.get("HOME") or "~").expanduser() / ".claude"
        )

    def plan(self, request: InstallRequest) -> InstallPlan:
        """Decide what to write and run."""
        assert request.binary is not None
        marketplace = request.data / "marketplace"
        files = _files(marketplace, request)
        plugin = str(request.binary.path), "plugin"
        environment = without_session(request.environment)

        def run(*words: str) -> Command:
            return Command(argv=(*plugin, *words), environment=environment, cwd=request.data)

        return InstallPlan(
            version=_version(files),
            files=files,
            changes=_changes(request.home),
            commands=(run("marketplace", "add", str(marketplace)), run("install", PLUGIN)),
            update=(run("update", PLUGIN),),
        )

    def traces(self, home: Path, data: Path) -> Traces:
        """What may be there of ours."""
        plugins = home / "plugins"
        return Traces(
            changes=_changes(home),
            folders=(
                data / "marketplace",
                plugins / "cache" / MARKETPLACE,
                plugins / "data" / f"relay-{MARKETPLACE}",
            ),
            touched=(home / ".claude.json",),
            byproducts=("backups/*", "plugins/**/*"),
        )


def _changes(home: Path) -> dict[Path, Change]:
    plugins = home / "plugins"
    return {
        home / "settings.json": JsonMembers(
            (("enabledPlugins", PLUGIN), ("extraKnownMarketplaces", MARKETPLACE))
        ),
        plugins / "installed_plugins.json": JsonMembers(
            (("plugins", PLUGIN),), blank={"version": 2, "plugins": {}}
        ),
        plugins / "known_marketplaces.json": JsonMembers(((MARKETPLACE,),)),
    }


def _files(marketplace: Path, request: InstallRequest) -> dict[Path, str]:
    plugin = marketplace / "plugins" / "relay"
    listing = {
        "name": MARKETPLACE,
        "owner": {"name": "Agent Relay"},
        "plugins": [{"name": "relay", "source": "./plugins/relay", "description": _ABOUT}],
    }
    files = render_joined_plugin(
        plugin,
        python=request.python,
        pipe=request.pipe,
        control_socket=request.control_socket,
        config=request.config,
    )
    files[plugin / "skills" / SKILL_FILE] = skill_text()
    files[marketplace / ".claude-plugin" / "marketplace.json"] = json.dumps(listing, indent=1)
    # Claude Code copies a plugin anew only when its version is another.
    manifest = plugin / ".claude-plugin" / "plugin.json"
    described = {**json.loads(files[manifest]), "description": _ABOUT}
    described["version"] = f"{described['version']}-{_digest(files)}"
    files[manifest] = json.dumps(described, indent=1)
    return files


def _version(files: Mapping[Path, str]) -> str:
    manifest = next(text for path, text in files.items() if path.name == "plugin.json")
    return str(json.loads(manifest)["version"])


def _digest(files: Mapping[Path, str]) -> str:
    whole = "\0".join(f"{path}\0{files[path]}" for path in sorted(files))
    return hashlib.sha256(whole.encode()).hexdigest()[:8]
