"""What the dashboard ships: its size, its vendored files, the rules its own modules keep."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "dashboard"
OWN_MODULES = sorted((DASHBOARD / "app").rglob("*.js"))
ALL_FILES = sorted(path for path in DASHBOARD.rglob("*") if path.is_file())
BUDGET = 250 * 1000


def test_all_assets_together_stay_within_250_kilobytes() -> None:
    assert sum(path.stat().st_size for path in ALL_FILES) <= BUDGET


def test_the_vendored_files_are_those_of_the_pinned_packages() -> None:
    command = [sys.executable, "scripts/vendor_dashboard.py", "--check"]

    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_vendored_package_names_its_version_hash_and_licence() -> None:
    manifest = json.loads((DASHBOARD / "vendor" / "vendor.json").read_text())
    licences = (DASHBOARD / "vendor" / "LICENSES.txt").read_text()

    assert [entry["name"] for entry in manifest] != []
    for entry in manifest:
        assert entry["integrity"].startswith("sha512-")
        assert entry["licence"] in {"MIT", "Apache-2.0"}
        assert f"{entry['name']} {entry['version']}" in licences


@pytest.mark.parametrize("module", OWN_MODULES, ids=lambda path: path.name)
def test_no_module_writes_markup_or_evaluates_text(module: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"

    assert re.findall(forbidden, module.read_text()) == []


@pytest.mark.parametrize("module", OWN_MODULES, ids=lambda path: path.name)
def test_every_import_names_a_file_that_is_shipped(module: Path) -> None:
    imports = re.findall(r"""(?:from|import)\s+"([^"]+)";""", module.read_text())

    assert [name for name in imports if not (module.parent / name).is_file()] == []


def test_the_page_has_no_inline_script_or_style() -> None:
    page = (DASHBOARD / "index.html").read_text()

    assert re.findall(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page) == []


def test_every_file_the_page_names_is_shipped() -> None:
    page = (DASHBOARD / "index.html").read_text()
    names = re.findall(r'(?:href|src)="/([^"]+)"', page)

    assert names != []
    assert [name for name in names if not (DASHBOARD / name).is_file()] == []
