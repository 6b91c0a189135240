"""Routing: metadata, prefix, the only agent; never a default for somebody who was asked for by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker import routing
from openrtc_worker.routing import Route, route, tenant

SEVERAL = ("booking", "sales", "sales-eu")


def asked(names=SEVERAL, *, job="", room="", name="a-room") -> Route:
    return route(names, job_metadata=job, room_metadata=room, room=name)


@pytest.mark.parametrize(
    ("job", "room", "name", "agent"),
    [
        ('{"agent": "booking"}', '{"agent": "sales"}', "sales-1", "booking"),
        ("", '{"agent": "sales"}', "booking-1", "sales"),
        ("", "", "booking-1", "booking"),
        ("", "", "sales-eu-1", "sales-eu"),
        ("", "", "sales-us-1", "sales"),
        ('{"agent": ""}', '{"agent": null}', "sales-1", "sales"),
        ("not json", "[1]", "sales-1", "sales"),
        ("{", '"agent"', "sales-1", "sales"),
    ],
)
def test_job_metadata_then_room_metadata_then_prefix(job, room, name, agent):
    assert asked(job=job, room=room, name=name) == Route(agent=agent)


@pytest.mark.parametrize("name", ["booking", "bookings-1", "x-booking-1", "", "-", "Booking-1"])
def test_only_a_registered_name_before_a_hyphen_is_a_prefix(name):
    assert asked(name=name) == Route(refusal="unrouted")


@pytest.mark.parametrize("wanted", ["billing", "Booking", 7, ["booking"], True])
def test_a_name_that_is_not_registered_is_refused_even_by_a_pool_of_one(wanted):
    for names in (SEVERAL, ("booking",)):
        answer = asked(names, job=json.dumps({"agent": wanted}), name="booking-1")
        assert (answer.agent, answer.refusal) == (None, "unknown_agent")
        assert answer.asked_for == str(wanted)


def test_the_only_agent_answers_what_names_nobody():
    assert asked(("booking",)) == Route(agent="booking")
    assert asked(()) == Route(refusal="unrouted")


def test_an_unknown_name_is_printable_and_short():
    answer = asked(job=json.dumps({"agent": "\x1b[2J" + "x" * 500}))
    assert answer.asked_for is not None
    assert "\x1b" not in answer.asked_for
    assert len(answer.asked_for) <= 128


@given(job=st.text(), room=st.text(), name=st.text())
def test_no_metadata_breaks_it(job, room, name):
    answer = route(SEVERAL, job_metadata=job, room_metadata=room, room=name)
    assert (answer.agent is None) != (answer.refusal is None)
    tenant(job_metadata=job, room_metadata=room)


def test_deep_metadata_is_no_json_for_us():
    assert asked(("booking",), job='{"agent":' + "[" * 100_000) == Route(agent="booking")


@pytest.mark.parametrize(
    ("job", "room", "expected"),
    [
        ('{"tenant": "acme"}', '{"tenant": "other"}', "acme"),
        ("", '{"tenant": "other"}', "other"),
        ('{"tenant": 7}', "", "7"),
        ('{"tenant": true}', "", None),
        ('{"tenant": ""}', "", None),
        ('{"tenant": {"a": 1}}', "", None),
        ("", "", None),
    ],
)
def test_the_tenant_comes_from_job_then_room(job, room, expected):
    assert tenant(job_metadata=job, room_metadata=room) == expected


def test_each_metadata_of_an_offer_is_parsed_once(monkeypatch):
    parsed = []
    real = json.loads
    monkeypatch.setattr(routing.json, "loads", lambda text: parsed.append(text) or real(text))
    job, room = '{"agent": null, "of": "this test"}', '{"agent": "sales", "of": "this test"}'
    assert asked(job=job, room=room) == Route(agent="sales")
    assert tenant(job_metadata=job, room_metadata=room) is None
    assert parsed == [job, room]
