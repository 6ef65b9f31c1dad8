"""The route table: every path of the contract, readable as an index."""

from dataclasses import dataclass

import falcon

from relay_server.http import dashboard, problems
from relay_server.http.gate import Gate
from relay_server.http.resources import agents, messages, service, streams
from relay_server.services.agents import AgentService
from relay_server.services.claims import ClaimService
from relay_server.services.explain import ExplainService
from relay_server.services.idempotency import IdempotencyService
from relay_server.services.machines import MachineService
from relay_server.services.reading import ReadingService
from relay_server.services.receipts import ReceiptService
from relay_server.services.sending import Sender
from relay_server.services.stats import StatsService
from relay_server.services.streaming import StreamService
from relay_server.settings import Settings

App = falcon.App[falcon.Request, falcon.Response]


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers call."""

    agents: AgentService
    sender: Sender
    reading: ReadingService
    receipts: ReceiptService
    claims: ClaimService
    explain: ExplainService
    streams: StreamService
    machines: MachineService
    stats: StatsService
    registrations: IdempotencyService


def build_app(settings: Settings, services: Services) -> App:
    """The WSGI application."""
    app: App = falcon.App(middleware=[Gate(settings)], sink_before_static_route=False)
    app.req_options.auto_parse_qs_csv = False
    app.req_options.keep_blank_qs_values = True
    problems.install(app)
    _add_routes(app, settings, services)
    dashboard.install(app)
    return app


def _add_routes(app: App, settings: Settings, s: Services) -> None:
    routes: dict[str, object] = {
        "/": dashboard.Index(),
        "/healthz": service.Health(s.stats),
        "/api/stats": service.Stats(s.stats),
        "/api/login": service.Login(settings.token),
        "/api/logout": service.Logout(),
        "/api/agents": agents.Agents(s.agents, s.registrations),
        "/api/agents/{agent_id}": agents.Agent(s.agents),
        "/api/agents/{agent_id}/status": agents.AgentStatusPath(s.agents),
        "/api/agents/{agent_id}/heartbeat": agents.Heartbeat(s.agents),
        "/api/agents/{agent_id}/ack": agents.Ack(s.receipts),
        "/api/heartbeats": agents.Heartbeats(s.agents),
        "/api/messages": messages.Messages(s.sender, s.reading),
        "/api/messages/{message_id}": messages.Message(s.reading, s.claims),
        "/api/messages/{message_id}/explain": messages.Explain(s.explain),
        "/api/messages/{message_id}/thread": messages.Thread(s.reading),
        "/api/messages/{message_id}/claim": messages.Claim(s.claims),
        "/api/messages/{message_id}/release": messages.Release(s.claims),
        "/api/messages/{message_id}/complete": messages.Complete(s.claims),
        "/api/messages/{message_id}/read": messages.Read(s.receipts),
        "/api/messages/{message_id}/deliver": messages.Deliver(s.claims),
        "/api/route": messages.Route(s.explain),
        "/api/stream": streams.MachineStream(s.streams),
        "/api/stream/{stream_id}": streams.StreamPath(s.streams),
        "/api/events": streams.Events(s.streams),
        "/api/machines": service.Machines(s.machines),
        "/api/machines/{machine_id}": service.Machine(s.machines),
    }
    for path, resource in routes.items():
        app.add_route(path, resource)
