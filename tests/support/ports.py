"""Ports for servers that are started, killed and started again at the same place.

Below the range from which the kernel takes ports for whoever connects or does not care: while a
server is dead, nobody else gets its port, and no client of its own connects to itself.
"""

import random
import socket

_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A port of this machine nobody listens on now."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
