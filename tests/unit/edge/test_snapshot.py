"""The hall's state as text, and back."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.commands import Finish, Park, Start
from edge.queue.state import HallState
from edge.snapshot import SnapshotUnreadable, from_json, to_json
from tests.support.hall import Hall
from tests.support.walks import states


def a_hall_at_work() -> HallState:
    hall = Hall()
    hall.sign_on(1, 2)
    for _ in range(5):
        hall.take_number()
    hall.call_next(1)
    hall.do(Start(window=1))
    hall.pass_time(60.5)
    hall.do(Park(window=1))
    hall.call_next(2)
    hall.do(Start(window=2))
    hall.pass_time(61.25)
    hall.do(Finish(window=2))
    hall.call_next(1)
    return hall.state


@settings(max_examples=100, deadline=None)
@given(states())
def test_every_state_comes_back_from_its_snapshot(state: HallState) -> None:
    assert from_json(to_json(state)) == state


def test_the_lines_are_not_stored_but_made_from_the_tickets() -> None:
    state = a_hall_at_work()
    assert "lines" not in json.loads(to_json(state))["state"]
    assert state.lines.count("a") == 2
    assert from_json(to_json(state)).lines == state.lines


def test_a_snapshot_of_an_unknown_version_is_refused_and_both_versions_are_named() -> None:
    text = to_json(a_hall_at_work()).replace('"version":2', '"version":7')
    with pytest.raises(SnapshotUnreadable, match="version 7, this is version 2"):
        from_json(text)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"version":2}', '{"version":"one"}', "[" * 100_000, "\ud800", "\0"],
)
def test_text_that_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(SnapshotUnreadable):
        from_json(text)


@given(st.data())
def test_a_torn_snapshot_is_refused(data: st.DataObject) -> None:
    text = to_json(a_hall_at_work())
    torn = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(SnapshotUnreadable):
        from_json(torn)


@given(st.data())
def test_a_damaged_snapshot_is_a_state_or_a_named_error(data: st.DataObject) -> None:
    text = to_json(a_hall_at_work())
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    with suppress(SnapshotUnreadable):
        assert isinstance(from_json(damaged), HallState)


@pytest.mark.parametrize("field", ["ticket", "asking"])
def test_a_window_that_names_a_missing_ticket_is_refused(field: str) -> None:
    document = json.loads(to_json(a_hall_at_work()))
    window = next(w for w in document["state"]["windows"].values() if w[field])
    del document["state"]["tickets"][window[field]]
    with pytest.raises(SnapshotUnreadable, match=f"window {window['number']} names ticket"):
        from_json(json.dumps(document))


def test_a_field_of_a_wrong_kind_is_refused_with_its_place() -> None:
    text = to_json(a_hall_at_work()).replace('"anchor":5', '"anchor":"many"')
    with pytest.raises(SnapshotUnreadable, match=r"state\.anchor"):
        from_json(text)
