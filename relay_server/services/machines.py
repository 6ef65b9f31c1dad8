"""The machines' own reports."""

from collections.abc import Mapping
from typing import Any

from relay_server.errors import NotFound
from relay_server.services import render
from relay_server.services.core import Core
from relay_server.services.presence import Presence
from relay_server.store import machines
from relay_server.store.database import Reader


class MachineService:
    """Thread-safe; owns nothing but its core."""

    def __init__(self, core: Core, presence: Presence) -> None:
        self._core = core
        self._presence = presence

    def put(self, machine_id: str, report: Mapping[str, Any]) -> render.Json:
        """What its daemon says about it; replaces the last report."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            before = machines.get(transaction, machine_id)
            machine = machines.Machine(
                machine_id,
                dict(report),
                online=True,
                registered_at=before.registered_at if before else now,
                last_seen_at=now,
            )
            machines.save(transaction, machine)
            if before is None or not before.online:
                self._presence.tell_machine(transaction, machine)
        return render.machine_json(machine)

    def get(self, machine_id: str) -> render.Json:
        """One machine. Raises: NotFound."""
        with self._core.database.read() as reader:
            return render.machine_json(require_machine(reader, machine_id))

    def all(self) -> list[render.Json]:
        """Every machine."""
        with self._core.database.read() as reader:
            return [render.machine_json(machine) for machine in machines.all_machines(reader)]


def require_machine(reader: Reader, machine_id: str) -> machines.Machine:
    """The machine. Raises: NotFound `machine_not_found`."""
    machine = machines.get(reader, machine_id)
    if machine is None:
        raise NotFound(f"No machine {machine_id} is known.", code="machine_not_found")
    return machine
