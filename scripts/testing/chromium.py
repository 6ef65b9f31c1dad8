"""A Chromium for the browser tests: the machine's own, or Debian's package where we may install."""

import os
import shutil

from scripts.testing.tools import PreparationError, run_quietly


def make_available() -> None:
    """Sees to it that there is a `chromium` on PATH.

    Raises:
        PreparationError: there is none and it cannot be installed from here.
    """
    if shutil.which("chromium"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PreparationError(
            "no chromium on PATH: install one (Debian: apt-get install chromium)"
        )
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_quietly(["apt-get", "update", "-qq"], "reading Debian's package lists", variables)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    run_quietly(install, "installing Debian's chromium", variables)
