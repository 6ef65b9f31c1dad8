"""What this machine knows about itself: its addresses, and who listens on a port (psutil)."""

import ipaddress
import socket

import psutil


def own_names() -> frozenset[str]:
    """Every address of this machine, and its host name; lower case."""
    names = {socket.gethostname().lower()}
    for addresses in psutil.net_if_addrs().values():
        names |= {address.address.partition("%")[0].lower() for address in addresses}
    return frozenset(names)


def port_holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            place = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and place and place.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        return "another program"
    return "another program"


def process_name(pid: int) -> str:
    """`relay-server (pid 7)`, or only the number when the process cannot be asked."""
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def outward_addresses() -> list[str]:
    """Where others may reach this machine: IPv4 first, and none that is only for itself."""
    found = []
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                parsed = ipaddress.ip_address(address.address.partition("%")[0])
                if not parsed.is_loopback and not parsed.is_link_local:
                    found.append(parsed)
    return [str(address) for address in sorted(found, key=lambda each: each.version)]
