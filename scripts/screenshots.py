"""Take the dashboard's pictures for the docs: a real relay, seeded data, Debian's chromium.

    python scripts/screenshots.py            writes docs/dashboard*.png
    python scripts/screenshots.py --url URL  the same against a relay that runs already (empty!)

The data is invented; the pictures are remade by hand when the page changes.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

AGENTS: list[dict[str, Any]] = [
    {
        "id": "claude-shop-api-7f3a",
        "label": "Backend",
        "provider": "claude",
        "machine": "laptop",
        "project": "shop-api",
        "cwd": "/home/mira/shop-api",
        "tags": ["shop"],
        "capabilities": ["review", "migrations"],
        "status": "busy",
        "statusDetail": "Checks the orders migration",
    },
    {
        "id": "codex-shop-web-19c2",
        "label": "Frontend",
        "provider": "codex",
        "machine": "buildbox",
        "project": "shop-web",
        "cwd": "/srv/work/shop-web",
        "tags": ["shop"],
        "capabilities": ["typescript"],
        "status": "busy",
        "statusDetail": "Runs the checkout tests",
    },
    {
        "id": "codex-infra-a450",
        "label": "Infra",
        "provider": "codex",
        "machine": "buildbox",
        "project": "infra",
        "cwd": "/srv/work/infra",
        "tags": ["ops"],
        "capabilities": ["deploy"],
        "approvalMode": "guarded",
        "status": "waiting",
        "statusDetail": "May I apply the staging plan?",
    },
    {
        "id": "claude-docs-d018",
        "label": "Docs",
        "provider": "claude",
        "machine": "laptop",
        "project": "handbook",
        "cwd": "/home/mira/handbook",
        "tags": ["shop"],
        "capabilities": ["writing"],
        "reachability": "boundary",
        "status": "idle",
    },
    {
        "id": "claude-metrics-52be",
        "provider": "claude",
        "name": "metrics (claude @ studio)",
        "machine": "studio",
        "project": "metrics",
        "cwd": "/Users/mira/metrics",
        "tags": ["ops"],
        "capabilities": ["sql"],
        "status": "idle",
    },
    {
        "id": "codex-mobile-c7e1",
        "label": "Mobile",
        "provider": "codex",
        "machine": "studio",
        "project": "shop-app",
        "cwd": "/Users/mira/shop-app",
        "tags": ["shop"],
        "capabilities": ["swift"],
        "status": "offline",
    },
]

BACKEND, FRONTEND, INFRA, DOCS_AGENT, METRICS, MOBILE = (agent["id"] for agent in AGENTS)

# (from, to, body, reply to the n-th message, other fields, receipt state its receivers reach)
MESSAGES: list[tuple[str, str, str, int | None, dict[str, Any], str]] = [
    (
        METRICS,
        "tag:ops",
        "Checkout latency p95 rose from 180 to 420 ms since 14:05.",
        None,
        {"subject": "Latency on checkout", "priority": "high", "claimable": True},
        "in_context",
    ),
    (
        "operator",
        "broadcast",
        "Code freeze for the release starts at 17:00. Finish what you hold, start nothing new.",
        None,
        {},
        "in_context",
    ),
    (
        BACKEND,
        DOCS_AGENT,
        "The field `shippedAt` is called `fulfilledAt` from 2.4 on. Please fix the handbook page.",
        None,
        {},
        "handed",
    ),
    (
        FRONTEND,
        MOBILE,
        "Checkout uses /v2/orders from build 318. The old path answers until Friday.",
        None,
        {},
        "",
    ),
    (
        FRONTEND,
        BACKEND,
        "Is the orders migration clean? I want to switch checkout to /v2/orders.",
        None,
        {},
        "replied",
    ),
    (
        BACKEND,
        FRONTEND,
        "Almost. 0042 adds the index concurrently, but the backfill still runs, four minutes left.",
        4,
        {},
        "in_context",
    ),
    (
        INFRA,
        "operator",
        "The staging plan adds two nodes and changes nothing else. May I apply it?",
        None,
        {"subject": "Apply the staging plan?", "priority": "high"},
        "",
    ),
]


def seed(api: httpx.Client) -> None:
    """Register the agents, let them talk, report the receipts."""
    for agent in AGENTS:
        fields = {"reachability": "push", "approvalMode": "guarded", **agent}
        detail, status = fields.pop("statusDetail", None), fields.pop("status")
        api.post("/api/agents", json=fields).raise_for_status()
        report = {"status": status} | ({"statusDetail": detail} if detail else {})
        api.patch(f"/api/agents/{agent['id']}/status", json=report).raise_for_status()
    sent: list[int] = []
    for sender, to, body, parent, fields, state in MESSAGES:
        message = {"from": sender, "to": to, "body": body, **fields}
        if parent is not None:
            message["replyTo"] = sent[parent]
        answer = api.post("/api/messages", json=message).raise_for_status().json()
        sent.append(answer["id"])
        if state:
            acknowledge(api, answer["id"], state)


def acknowledge(api: httpx.Client, message_id: int, state: str) -> None:
    """Every online receiver reports each step up to `state`."""
    steps = ["handed", "in_context", "read", "replied"]
    online = {agent["id"] for agent in AGENTS if agent["status"] != "offline"}
    found = api.get(f"/api/messages/{message_id}").raise_for_status().json()
    for receipt in found["receipts"]:
        if receipt["agentId"] in online:
            reached = [
                {"messageId": message_id, "state": step, "via": "app-server"}
                for step in steps[: steps.index(state) + 1]
            ]
            path = f"/api/agents/{receipt['agentId']}/ack"
            api.post(path, json={"receipts": reached}).raise_for_status()


@contextmanager
def relay() -> Iterator[str]:
    """A relay of our own on a free port with an empty database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PORT": str(port),
            "AGENT_RELAY_DB": str(Path(folder) / "relay.db"),
        }
        environment.pop("AGENT_RELAY_TOKEN", None)
        command = [sys.executable, "-m", "relay_server"]
        with subprocess.Popen(command, env=environment) as process:
            try:
                wait_until_up(url)
                yield url
            finally:
                process.terminate()


def wait_until_up(url: str) -> None:
    """Poll the health check for ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/healthz").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the relay did not start")


def open_page(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Page:
    """A loaded dashboard with every receipt in place."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=2 if size[0] < 500 else 1.5,
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.goto(url)
    page.wait_for_selector("[data-connection=live]", state="attached")
    page.wait_for_selector(".receipt-good")
    return page


def desktop(browser: Browser, url: str, scheme: str) -> None:
    """The stream with one message open beside it."""
    page = open_page(browser, f"{url}/#/?m=6", (1440, 860), scheme)
    page.wait_for_selector(".ladder")
    page.get_by_role("combobox", name="To").fill("tag:shop")
    page.get_by_label("Message", exact=True).fill("Who takes the release notes?")
    page.wait_for_selector(".preview .strong")
    name = "dashboard.png" if scheme == "light" else "dashboard-dark.png"
    page.screenshot(path=DOCS / name)
    page.close()


def phone(browser: Browser, url: str, view: str, name: str) -> None:
    """One page as a phone shows it."""
    page = open_page(browser, f"{url}/#/", (390, 780), "light")
    page.goto(f"{url}/#/{view}")
    page.wait_for_timeout(300)
    page.screenshot(path=DOCS / name)
    page.close()


def take(url: str) -> None:
    """All pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed")
    DOCS.mkdir(exist_ok=True)
    with httpx.Client(base_url=url) as api:
        seed(api)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        for scheme in ("light", "dark"):
            desktop(browser, url, scheme)
        phone(browser, url, "", "dashboard-phone.png")
        phone(browser, url, "agents", "dashboard-phone-agents.png")
        browser.close()


def main() -> None:
    """Start a relay unless one is given, then take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", help="an empty relay that runs already")
    given = parser.parse_args().url
    if given:
        take(given)
        return
    with relay() as url:
        take(url)


if __name__ == "__main__":
    main()
