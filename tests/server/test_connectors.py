"""What other products send, as events of ours. The payloads are in `tests/data/connectors`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_server.domain.connectors import alertmanager, github
from relay_server.errors import InvalidRequest

DATA = Path(__file__).resolve().parents[1] / "data" / "connectors"
_EVENT_FIELDS = frozenset(
    ("dedupeKey", "title", "body", "severity", "status", "externalUrl", "metadata")
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def payload(name: str) -> Any:
    """One of the stored payloads."""
    return json.loads((DATA / f"{name}.json").read_text())


def alert(**fields: Any) -> dict[str, Any]:
    """A payload with one alert."""
    return {"alerts": [{"labels": {"alertname": "Down"}, "fingerprint": "f1", **fields}]}


def issue(**fields: Any) -> dict[str, Any]:
    """An opened issue with other fields than usual."""
    found = payload("github-issues-opened")
    found["issue"].update(fields)
    return dict(found)


def refused(call: Any, *arguments: Any) -> str:
    """The field that the refusal names."""
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    return str(caught.value.extra["errors"][0]["field"])


# -- Alertmanager


def test_each_firing_alert_is_an_event() -> None:
    first, second = alertmanager.events_of(payload("alertmanager-firing"))

    assert first["dedupeKey"] == "alertmanager:3b1e0c7d55f2a918"
    assert first["title"] == "DiskWillFillIn4Hours (db-2.shop.example:9100)"
    assert first["severity"] == "critical"
    assert "status" not in first
    assert first["externalUrl"].startswith("http://prometheus.shop.example:9090/graph?g0.expr=")
    assert (second["dedupeKey"], second["severity"]) == ("alertmanager:c9d2714be0a8f630", "warning")


def test_an_alerts_body_says_what_it_is_about_and_which_labels_it_has() -> None:
    body = alertmanager.events_of(payload("alertmanager-firing"))[0]["body"]

    assert body.startswith("The disk of db-2 will be full in four hours\n\nOnly 6.1 % of")
    assert "runbook_url: https://runbooks.shop.example/DiskWillFillIn4Hours" in body
    assert "mountpoint: /var/lib/postgresql" in body


def test_an_alerts_metadata_keeps_what_it_was_made_from() -> None:
    sent = payload("alertmanager-firing")

    metadata = alertmanager.events_of(sent)[0]["metadata"]

    assert metadata == {
        "labels": sent["alerts"][0]["labels"],
        "annotations": sent["alerts"][0]["annotations"],
        "groupKey": sent["groupKey"],
        "startsAt": "2026-11-22T14:03:11.482Z",
    }


def test_an_alert_is_resolved_by_its_own_status_whatever_the_groups() -> None:
    events = alertmanager.events_of(payload("alertmanager-one-resolved"))

    assert [event.get("status") for event in events] == [None, "resolved"]
    assert events[1]["dedupeKey"] == "alertmanager:3b1e0c7d55f2a918"


def test_without_a_fingerprint_the_labels_are_the_key() -> None:
    one, same, other = (
        alertmanager.events_of(alert(fingerprint=None, labels=labels))[0]["dedupeKey"]
        for labels in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1", "b": "3"})
    )

    assert one == same != other


def test_fields_that_nobody_knows_and_missing_ones_are_no_problem() -> None:
    event = alertmanager.events_of({**alert(values={"B": 1}, silenceURL=""), "orgId": 1})[0]

    assert (event["title"], event["body"]) == ("Down", "alertname: Down")
    assert "severity" not in event
    assert "externalUrl" not in event


def test_a_payload_without_alerts_makes_no_events() -> None:
    assert alertmanager.events_of({"alerts": []}) == []


def test_a_long_title_and_a_long_body_are_cut_visibly() -> None:
    labels = {"alertname": "N" * 300}
    event = alertmanager.events_of(alert(labels=labels, annotations={"summary": "é" * 40_000}))[0]

    assert len(event["title"]) == 200
    assert event["title"].endswith("…")
    assert 65_530 <= len(event["body"].encode()) <= 65_536
    assert event["body"].endswith("é\n… (cut: longer than 64 KiB)")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/graph", "http://x/" + "q" * 2000])
def test_what_nobody_can_follow_is_no_link(url: str) -> None:
    event = alertmanager.events_of(alert(generatorURL=url))[0]

    assert "externalUrl" not in event


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ([], ""),
        ({}, "alerts"),
        ({"alerts": {}}, "alerts"),
        ({"alerts": ["x"]}, "alerts[0]"),
        (alert(labels=["x"]), "alerts[0].labels"),
        (alert(labels={"a": 1}), "alerts[0].labels.a"),
        (
            alert(annotations={"summary": None, "description": 1}),
            "alerts[0].annotations.description",
        ),
        (alert(fingerprint=None, labels={}), "alerts[0].labels"),
        (alert(fingerprint=7), "alerts[0].fingerprint"),
        (alert(fingerprint="no key"), "alerts[0].fingerprint"),
        (alert(status="maybe"), "alerts[0].status"),
        (alert(generatorURL=[]), "alerts[0].generatorURL"),
        ({**alert(), "groupKey": 3}, "groupKey"),
    ],
)
def test_an_alert_of_wrong_types_names_the_field(sent: Any, field: str) -> None:
    assert refused(alertmanager.events_of, sent) == field


# -- GitHub


def test_an_opened_issue_is_an_event() -> None:
    sent = payload("github-issues-opened")

    event = github.event_of("issues", sent)

    assert event == {
        "dedupeKey": "github:shop-example/checkout#128",
        "title": "shop-example/checkout#128: Totals are rounded twice for Swiss francs",
        "body": sent["issue"]["body"],
        "severity": "high",
        "externalUrl": "https://github.com/shop-example/checkout/issues/128",
        "metadata": {
            "action": "opened",
            "repository": "shop-example/checkout",
            "number": 128,
            "labels": ["bug", "severity: high"],
            "sender": "mona-lindt",
        },
    }


@pytest.mark.parametrize("action", ["closed", "deleted", "transferred"])
def test_an_issue_that_is_gone_resolves_its_event(action: str) -> None:
    event = github.event_of("issues", {**payload("github-issues-closed"), "action": action})

    assert event is not None
    assert (event["status"], event["dedupeKey"]) == ("resolved", "github:shop-example/checkout#128")


def test_an_issue_opened_again_is_an_event_again() -> None:
    event = github.event_of("issues", {**payload("github-issues-opened"), "action": "reopened"})

    assert event is not None
    assert "status" not in event


@pytest.mark.parametrize(
    ("name", "file", "described"),
    [
        ("ping", "github-ping", "ping"),
        ("issues", "github-issues-labeled", "issues.labeled"),
        ("issue_comment", "github-issues-opened", "issue_comment.opened"),
    ],
)
def test_other_deliveries_are_no_events(name: str, file: str, described: str) -> None:
    assert github.event_of(name, payload(file)) is None
    assert github.name_of(name, payload(file)) == described


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("severity: High", "high"),
        ("sev/2", "2"),
        ("P1", "p1"),
        ("sev0", "sev0"),
        ("critical", "critical"),
        ("priority-low", "low"),
        ("highlight", None),
        ("p1-customer", None),
        ("bug", None),
    ],
)
def test_a_label_that_looks_like_a_severity_is_one(label: str, severity: str | None) -> None:
    event = github.event_of("issues", issue(labels=[{"name": "x"}, {"name": label}]))

    assert event is not None
    assert event.get("severity") == severity


def test_an_issue_without_text_and_with_new_fields_is_no_problem() -> None:
    event = github.event_of("issues", issue(body=None, labels=None, invented={"later": 1}))

    assert event is not None
    assert "body" not in event


def test_an_issues_long_title_is_cut_visibly() -> None:
    event = github.event_of("issues", issue(title="long " * 60))

    assert event is not None
    assert len(event["title"]) == 200
    assert event["title"].endswith("…")


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (None, ""),
        ({"action": 1}, "action"),
        ({"action": "opened"}, "repository.full_name"),
        ({"action": "opened", "repository": "x/y"}, "repository"),
        ({"action": "opened", "repository": {"full_name": "x/y"}}, "issue.number"),
        (issue(number="12"), "issue.number"),
        (issue(number=True), "issue.number"),
        (issue(title=["x"]), "issue.title"),
        (issue(labels=["bug"]), "issue.labels[0]"),
        (issue(labels=[{"name": 3}]), "issue.labels[0].name"),
    ],
)
def test_an_issue_of_wrong_types_names_the_field(sent: Any, field: str) -> None:
    assert refused(github.event_of, "issues", sent) == field


# -- both


@settings(max_examples=200)
@given(_JSON)
def test_whatever_is_sent_is_understood_or_refused(sent: Any) -> None:
    alerts = {"alerts": [{"labels": {"a": "b"}, "annotations": sent}, sent]}
    for call in (
        lambda: alertmanager.events_of(sent),
        lambda: alertmanager.events_of(alerts),
        lambda: [github.event_of("issues", issue(labels=sent))],
        lambda: [github.event_of("issues", sent)],
    ):
        try:
            events = call()
        except InvalidRequest:
            continue
        assert all(event is None or set(event) <= _EVENT_FIELDS for event in events)


# -- GitHub's signature


def test_the_signature_of_githubs_documentation_is_right() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert github.is_signed(b"Hello, World!", signature, "It's a Secret to Everybody")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "sha1=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18",
        "sha256=é\ud800",
    ],
)
def test_any_other_signature_is_wrong(signature: str | None) -> None:
    assert not github.is_signed(b"Hello, World!", signature, "It's a Secret to Everybody")


def test_the_signature_is_of_every_byte() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert not github.is_signed(b"Hello, World! ", signature, "It's a Secret to Everybody")
