"""/api/machines: what the daemons report."""

from typing import Final

from relay_server.http import schemas, shapes
from relay_server.http.operation import READERS, SESSIONS, Call, Operation, Reply, ok
from relay_server.services.machines import MachineService
from relay_server.services.voices import Voices

_MISSING: Final = "machine_not_found"


class MachineOperations:
    """Handlers of machines."""

    def __init__(self, machines: MachineService, voices: Voices) -> None:
        self._machines = machines
        self._voices = voices

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [
            Operation(
                method="GET",
                path="/api/machines",
                name="listMachines",
                summary="Every machine",
                handler=lambda _: ok({"machines": self._machines.all()}),
                allowed=READERS,
                answers={200: shapes.MACHINES},
            ),
            Operation(
                method="GET",
                path="/api/machines/{machineId}",
                name="getMachine",
                summary="One machine",
                handler=lambda call: ok(self._machines.get(call.path["machineId"])),
                allowed=READERS,
                answers={200: shapes.MACHINE},
                problems=(_MISSING,),
            ),
            Operation(
                method="PUT",
                path="/api/machines/{machineId}",
                name="reportMachine",
                summary="What a machine's daemon says about it; replaces the last report",
                handler=self.put,
                allowed=SESSIONS,
                body=schemas.MACHINE,
                path_kinds={"machineId": schemas.MACHINE_ID},
                missing=_MISSING,
                answers={200: shapes.MACHINE},
                problems=(_MISSING, "sender_forbidden"),
            ),
        ]

    def put(self, call: Call) -> Reply:
        machine_id = call.path["machineId"]
        self._voices.require_machine(call.principal, machine_id)
        return ok(self._machines.put(machine_id, call.body))
