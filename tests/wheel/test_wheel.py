"""What a person gets who installs the wheel into an empty environment, without this repository."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.wheels import dependency_wheels

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    _run([*argv, str(ROOT)], cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    _run([*pip, "--no-index", "--find-links", str(dependency_wheels()), str(wheel)], cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("dashboard", "relay_server/_dashboard"),
        ("service_templates", "relay_agentd/_service_templates"),
        ("relay_launchers/claude/plugin", "relay_launchers/claude/plugin"),
        ("relay_server/store/migrations", "relay_server/store/migrations"),
    ],
)
def test_the_wheel_carries_every_file_of(wheel: Path, source: str, inside: str) -> None:
    tracked = _run(["git", "ls-files", "-z", source], cwd=ROOT).split("\0")
    expected = {f"{inside}/{Path(name).relative_to(source)}" for name in tracked if name}

    carried = set(zipfile.ZipFile(wheel).namelist())

    assert expected
    assert expected - carried == set()


def test_the_wheel_carries_the_typing_marks(wheel: Path) -> None:
    carried = zipfile.ZipFile(wheel).namelist()

    marks = {f"{name}/py.typed" for name in ("relay_server", "relay_agentd", "relay_launchers")}
    assert marks - set(carried) == set()


def test_the_wheel_carries_nothing_of_the_tests(wheel: Path) -> None:
    carried = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/", 1)[0] for name in carried}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "relay_server",
        "relay_agentd",
        "relay_launchers",
    }


@pytest.mark.parametrize("program", ["relay-server", "relay-agentd"])
def test_an_installed_program_says_its_version(
    environment: Path, tmp_path: Path, program: str
) -> None:
    said = _run([str(environment / "bin" / program), "--version"], cwd=tmp_path)

    assert "0.1.0" in said


@pytest.mark.parametrize("program", ["relay-server", "relay-agentd"])
def test_an_installed_program_explains_itself(
    environment: Path, tmp_path: Path, program: str
) -> None:
    said = _run([str(environment / "bin" / program), "--help"], cwd=tmp_path)

    assert "Usage" in said


def _run(argv: list[str], cwd: Path) -> str:
    """A program's output; the test fails with it when the program does."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
