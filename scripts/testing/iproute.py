"""`ip`, for the tests with hosts of their own: the machine's, or Debian's package."""

import os
import shutil

from scripts.testing.tools import PreparationError, run_quietly


def make_available() -> None:
    """Sees to it that there is an `ip` on PATH.

    Raises:
        PreparationError: there is none and it cannot be installed from here.
    """
    if shutil.which("ip"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PreparationError("no ip on PATH: install iproute2")
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_quietly(["apt-get", "update", "-qq"], "reading Debian's package lists", variables)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "iproute2"]
    run_quietly(install, "installing Debian's iproute2", variables)
