"""A Chromium for the browser tests: the machine's own, or Debian's package where we may install."""

import os
import shutil

from scripts.testing.tools import PreparationError, run_quietly

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "AGENT_RELAY_TEST_CHROMIUM"


def find_or_install() -> str:
    """The browser's path.

    Raises:
        PreparationError: there is none and it cannot be installed from here.
    """
    found = _find()
    if found is None:
        _install()
        found = _find()
    if found is None:
        raise PreparationError("apt-get installed chromium, but no such program is on PATH")
    return found


def _find() -> str | None:
    if said := os.environ.get(VARIABLE):
        return said
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PreparationError(
            f"no Chromium: install one (Debian: apt-get install chromium) or set {VARIABLE}"
        )
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_quietly(["apt-get", "update", "-qq"], "reading Debian's package lists", variables)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    run_quietly(install, "installing Debian's chromium", variables)
