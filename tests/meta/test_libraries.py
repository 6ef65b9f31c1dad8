"""Each library is known to one place only, so that it can be replaced there."""

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.meta.repository import PACKAGES, ROOT, tracked

KNOWN_TO = {
    "anyio": ("relay_agentd/mcp_server.py",),
    "click": ("relay_agentd/cli/", "relay_server/cli/"),
    "falcon": ("relay_server/http/",),
    "httpx": ("relay_agentd/relay_client.py", "relay_server/webhook_client.py"),
    "mcp": ("relay_agentd/mcp_server.py",),
    "peewee": ("relay_server/store/",),
    "playhouse": ("relay_server/store/",),
    "platformdirs": ("relay_agentd/paths.py", "relay_server/settings.py"),
    "prometheus_client": ("relay_server/metrics.py",),
    "psutil": ("relay_agentd/process.py", "relay_server/host.py"),
    "rich": ("relay_agentd/cli/",),
    "sqlite3": ("relay_agentd/store/", "relay_server/store/"),
    "subprocess": ("relay_agentd/spawn.py", "relay_launchers/discovery.py"),
    "waitress": ("relay_server/server/",),
    "watchfiles": ("relay_agentd/adapters/record_changes.py",),
    "websockets": ("relay_agentd/adapters/",),
}


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@cache
def _imports() -> dict[str, set[str]]:
    """What each module of ours imports."""
    modules = tracked(*(f"{package}/*.py" for package in PACKAGES))
    return {str(path.relative_to(ROOT)): set(_imported(path.read_text())) for path in modules}


@pytest.mark.parametrize(("library", "places"), KNOWN_TO.items())
def test_only_its_place_imports(library: str, places: tuple[str, ...]) -> None:
    importers = [module for module, imported in _imports().items() if library in imported]

    assert importers
    assert [importer for importer in importers if not importer.startswith(places)] == []
