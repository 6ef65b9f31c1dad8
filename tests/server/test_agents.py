"""/api/agents: registering, describing, listing, leaving."""

import pytest

from tests.server.running import RunningRelay


def test_registering_first_is_201_and_again_is_200(relay_server: RunningRelay) -> None:
    first = relay_server.client.post("/api/agents", json={"id": "a"})
    again = relay_server.client.post("/api/agents", json={"id": "a"})

    assert (first.status_code, again.status_code) == (201, 200)


def test_an_agent_has_every_field_of_the_contract(relay_server: RunningRelay) -> None:
    agent = relay_server.agent("a")

    assert set(agent) == {
        *("id", "name", "label", "machine", "provider", "rig", "project", "sessionId", "cwd"),
        *("pid", "tags", "capabilities", "channels", "status", "statusDetail", "approvalMode"),
        *("reachability", "lastProofAt", "instanceId", "epoch", "version", "meta", "builtIn"),
        *("cursor", "unread", "registeredAt", "lastSeenAt"),
    }


def test_fields_given_replace_and_fields_left_out_stay(relay_server: RunningRelay) -> None:
    relay_server.agent("a", project="one", tags=["x", "y"], meta={"k": 1})

    agent = relay_server.agent("a", tags=["z"])

    assert (agent["project"], agent["tags"], agent["meta"]) == ("one", ["z"], {"k": 1})


def test_the_default_name_tells_project_rig_and_machine(relay_server: RunningRelay) -> None:
    agent = relay_server.agent("a", project="shop", rig="codex", machine="box")

    assert agent["name"] == "shop (codex @ box)"


def test_a_label_set_by_a_person_survives_registering_again(relay_server: RunningRelay) -> None:
    relay_server.agent("a", label="from the session")
    relay_server.client.patch("/api/agents/a", json={"label": "from a person"})

    agent = relay_server.agent("a", label="from the session")

    assert agent["label"] == "from a person"


def test_label_null_clears_it_and_lets_the_session_name_itself_again(
    relay_server: RunningRelay,
) -> None:
    relay_server.agent("a")
    relay_server.client.patch("/api/agents/a", json={"label": "from a person"})

    cleared = relay_server.client.patch("/api/agents/a", json={"label": None}).json()
    agent = relay_server.agent("a", label="from the session")

    assert (cleared["label"], agent["label"]) == (None, "from the session")


@pytest.mark.parametrize("reserved", ["broadcast", "system", "operator"])
def test_reserved_words_are_no_ids(relay_server: RunningRelay, reserved: str) -> None:
    answer = relay_server.client.post("/api/agents", json={"id": reserved})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "id"


@pytest.mark.parametrize("bad", ["", "x" * 129, "sp ace", "é", "a/b", 7, None, ["a"]])
def test_ids_outside_the_form_are_422(relay_server: RunningRelay, bad: object) -> None:
    assert relay_server.client.post("/api/agents", json={"id": bad}).status_code == 422


def test_a_new_agent_starts_after_the_newest_message(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    old = relay_server.send("a", "broadcast")

    newcomer = relay_server.agent("b")
    new = relay_server.send("a", "broadcast")

    assert newcomer["cursor"] == old["id"]
    assert relay_server.inbox("b") == [new["id"]]


def test_a_returning_agent_starts_where_it_stopped(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    relay_server.agent("b")
    first, second = (relay_server.send("a", "b")["id"] for _ in range(2))
    relay_server.ack("b", first, "handed")

    returned = relay_server.agent("b")

    assert returned["cursor"] == first
    assert relay_server.inbox("b") == [second]


def test_an_unknown_agent_is_404_with_suggestions(relay_server: RunningRelay) -> None:
    relay_server.agent("backend-claude-shop")

    problem = relay_server.client.get("/api/agents/backend-claude-shoq")

    assert problem.status_code == 404
    assert problem.json()["code"] == "agent_not_found"
    assert problem.json()["suggestions"] == ["backend-claude-shop"]


def test_a_label_helps_to_find_an_id(relay_server: RunningRelay) -> None:
    relay_server.agent("host-claude-shop-1", label="Backend")

    problem = relay_server.client.get("/api/agents/backend").json()

    assert problem["suggestions"] == ["host-claude-shop-1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "busy"}, ["b"]),
        ({"tag": "web"}, ["a", "b"]),
        ({"tag": "web", "machine": "m2"}, ["b"]),
        ({"capability": "chat"}, ["a"]),
        ({"provider": "codex"}, ["b"]),
        ({"project": "shop"}, ["a"]),
        ({"label": "FRONT"}, ["a"]),
        ({"q": "fro"}, ["a"]),
        ({"q": "nothing"}, []),
        ({"limit": 1}, ["a"]),
    ],
)
def test_listing_filters(
    relay_server: RunningRelay, query: dict[str, str], found: list[str]
) -> None:
    relay_server.agent(
        "a", tags=["web"], capabilities=["chat"], machine="m1", project="shop", label="Front"
    )
    relay_server.agent("b", tags=["web"], machine="m2", provider="codex", status="busy")

    agents = relay_server.client.get("/api/agents", params=query).json()["agents"]

    assert [agent["id"] for agent in agents if not agent["builtIn"]] == found


def test_built_in_agents_always_exist_and_cannot_be_removed(relay_server: RunningRelay) -> None:
    agents = relay_server.client.get("/api/agents").json()["agents"]
    built_in = [agent["id"] for agent in agents if agent["builtIn"]]

    removed = relay_server.client.delete("/api/agents/operator")

    assert built_in == ["operator", "system"]
    assert removed.status_code == 409


def test_removing_releases_claims_and_keeps_messages(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    relay_server.agent("b", tags=["t"])
    work = relay_server.send("a", "tag:t", claimable=True)["id"]
    relay_server.client.post(f"/api/messages/{work}/claim", json={"agentId": "b"})

    removed = relay_server.client.delete("/api/agents/b")
    gone = relay_server.client.get("/api/agents/b")

    assert (removed.status_code, gone.status_code) == (204, 404)
    assert relay_server.client.get(f"/api/messages/{work}").json()["claim"] is None


def test_unread_counts_what_was_not_read(relay_server: RunningRelay) -> None:
    relay_server.agent("a")
    relay_server.agent("b")
    first = relay_server.send("a", "b")["id"]
    relay_server.send("a", "b")

    before = relay_server.client.get("/api/agents/b").json()["unread"]
    relay_server.client.post(f"/api/messages/{first}/read", json={"agentId": "b"})
    after = relay_server.client.get("/api/agents/b").json()["unread"]

    assert (before, after) == (2, 1)


# -- instances


def test_a_new_instance_raises_the_epoch(relay_server: RunningRelay) -> None:
    first = relay_server.agent("a", instanceId="one")
    same = relay_server.agent("a", instanceId="one")
    second = relay_server.agent("a", instanceId="two")

    assert [first["epoch"], same["epoch"], second["epoch"]] == [1, 1, 2]


def test_a_replaced_instance_cannot_register_again(relay_server: RunningRelay) -> None:
    relay_server.agent("a", instanceId="one")
    relay_server.agent("a", instanceId="two")

    answer = relay_server.client.post("/api/agents", json={"id": "a", "instanceId": "one"})

    assert (answer.status_code, answer.json()["code"]) == (409, "stale_instance")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/agents/a/heartbeat", {}),
        ("PATCH", "/api/agents/a/status", {"status": "busy"}),
        ("PATCH", "/api/agents/a", {"tags": []}),
        ("DELETE", "/api/agents/a", None),
        ("POST", "/api/agents/a/ack", {"receipts": []}),
        ("POST", "/api/messages", {"from": "a", "to": "broadcast", "body": "x"}),
        ("POST", "/api/messages/1/claim", {"agentId": "a"}),
        ("POST", "/api/messages/1/read", {"agentId": "a"}),
        ("GET", "/api/messages?for=a", None),
    ],
)
def test_a_zombie_may_do_nothing(
    relay_server: RunningRelay, method: str, path: str, body: dict[str, object] | None
) -> None:
    relay_server.agent("a", instanceId="one")
    relay_server.send("operator", "broadcast", claimable=True)
    relay_server.agent("a", instanceId="two")
    stale, current = {"X-Agent-Instance": "one"}, {"X-Agent-Instance": "two"}

    refused = relay_server.client.request(method, path, json=body, headers=stale)
    accepted = relay_server.client.request(method, path, json=body, headers=current)

    assert (refused.status_code, refused.json()["code"]) == (409, "stale_instance")
    assert accepted.is_success
