"""The service templates are well-formed, marked as ours and hold no unknown placeholder."""

import configparser
import plistlib
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.meta.repository import ROOT

FOLDER = ROOT / "service_templates"
TEMPLATES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".md")
DOCUMENTED = set(re.findall(r"@[A-Z_]+@", (FOLDER / "README.md").read_text()))
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def _name(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def _of(suffix: str) -> list[Path]:
    return [path for path in TEMPLATES if path.suffix == suffix]


@pytest.mark.parametrize("template", TEMPLATES, ids=_name)
def test_a_template_is_marked_and_its_placeholders_are_documented(template: Path) -> None:
    text = template.read_text()

    assert "Managed by Agent Relay" in text
    assert set(re.findall(r"@[A-Z_]+@", text)) <= DOCUMENTED


@pytest.mark.parametrize("template", _of(".service"), ids=_name)
def test_a_systemd_unit_runs_the_program_in_the_foreground(template: Path) -> None:
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]

    unit.read_string(template.read_text())

    assert unit["Service"]["ExecStart"] == "@EXECUTABLE@ serve"
    assert unit["Install"]["WantedBy"] == "default.target"


@pytest.mark.parametrize("template", _of(".plist"), ids=_name)
def test_a_launch_agent_runs_the_program_in_the_foreground(template: Path) -> None:
    agent = plistlib.loads(template.read_bytes())

    assert agent["ProgramArguments"] == ["@EXECUTABLE@", "serve"]
    assert agent["Label"] == template.stem


@pytest.mark.parametrize("template", _of(".xml"), ids=_name)
def test_a_scheduled_task_runs_the_program_in_the_foreground(template: Path) -> None:
    action = ET.parse(template).getroot().find(f"{TASK}Actions/{TASK}Exec")

    assert action is not None
    assert [each.text for each in action] == ["@EXECUTABLE@", "serve"]
