"""Whether a relay answers on a port of this machine, for `doctor`. Waits two seconds at most."""

import json
import socket
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Final

_SECONDS: Final = 2


def ask_health(place: str, port: int) -> str | None:
    """The version of the relay that answers there."""
    # Not urllib: the environment's proxy has no business here.
    with closing(HTTPConnection(place, port, timeout=_SECONDS)) as connection:
        try:
            connection.request("GET", "/healthz")
            answer = json.loads(connection.getresponse().read(4096))
        except (OSError, HTTPException, ValueError):
            return None
    version = answer.get("version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else None


def is_port_free(address: str, port: int) -> bool:
    """Asked as the server would: by binding it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
