"""/healthz, /api/stats, /api/machines, /api/login, /api/logout."""

import hmac

from falcon import Request, Response

from relay_server import __version__
from relay_server.errors import NotFound, Unauthorized
from relay_server.http import request as requests
from relay_server.http import schemas
from relay_server.http.answer import send, send_nothing
from relay_server.http.gate import COOKIE, cookie_value
from relay_server.services.machines import MachineService
from relay_server.services.stats import StatsService


class Health:
    """Whether the store answers."""

    def __init__(self, service: StatsService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response) -> None:
        del request
        self._service.health()
        send(response, {"status": "ok", "version": __version__})


class Stats:
    """Numbers."""

    def __init__(self, service: StatsService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response) -> None:
        requests.Query(request, ())
        send(response, self._service.stats())


class Machines:
    """All machines."""

    def __init__(self, service: MachineService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response) -> None:
        requests.Query(request, ())
        send(response, {"machines": self._service.all()})


class Machine:
    """One machine."""

    def __init__(self, service: MachineService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response, machine_id: str) -> None:
        requests.Query(request, ())
        send(response, self._service.get(machine_id))

    def on_put(self, request: Request, response: Response, machine_id: str) -> None:
        if not 1 <= len(machine_id) <= 200 or not machine_id.isprintable():
            raise NotFound(
                "A machine's id has 1..200 visible characters.", code="machine_not_found"
            )
        send(response, self._service.put(machine_id, requests.body(request, schemas.MACHINE)))


class Login:
    """The token for a cookie, so that a browser's event stream can authenticate."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def on_post(self, request: Request, response: Response) -> None:
        given = requests.body(request, schemas.LOGIN)["token"]
        if self._token is not None:
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise Unauthorized("The token is wrong.")
            value = cookie_value(self._token)
            response.append_header(
                "Set-Cookie", f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict"
            )
        send_nothing(response)


class Logout:
    """The cookie is gone."""

    def on_post(self, request: Request, response: Response) -> None:
        requests.body(request, schemas.NOTHING)
        response.append_header(
            "Set-Cookie", f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        )
        send_nothing(response)
