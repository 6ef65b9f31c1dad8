"""What holds for the repository as a whole."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.meta.repository import PACKAGES, ROOT, tracked

# Places of whoever runs the tests: this checkout, and their home unless it is the root folder.
_PLACES = [each for each in (ROOT, Path.home()) if len(each.parts) > 1]
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.]){re.escape(str(each))}/" for each in _PLACES))
TEXTS = ("*.py", "*.md", "*.toml", "*.sh", "*.js", "*.css", "*.html", "*.json", "scripts", ".ci")


def test_no_file_names_a_place_on_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:100]}"
        for path in tracked(*TEXTS, ":!dashboard/vendor")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]

    assert found == []


@pytest.mark.parametrize("package", ["relay_server", "relay_agentd"])
def test_every_module_has_a_place_in_the_layers(package: str) -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

    contracts = [
        contract
        for contract in linter["contracts"]
        if contract["type"] == "layers" and contract["containers"] == [package]
    ]

    assert [contract.get("exhaustive") for contract in contracts] == [True]


def test_the_three_packages_are_what_the_layers_are_checked_for() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

    assert tuple(linter["root_packages"]) == PACKAGES
