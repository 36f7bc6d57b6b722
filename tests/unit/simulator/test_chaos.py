"""Which powers are cut and when: decided by a seed, often enough, and never at the very end."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.chaos import kills_due, plan
from simulator.habits import dice_of
from simulator.truth import PROGRAMS

CABLES = ["printer", "screen-1", "caller-1"]


@pytest.mark.parametrize(("seconds", "times"), [(5.0, 1), (30.0, 3), (45.0, 3), (120.0, 6)])
def test_each_program_dies_several_times(seconds: float, times: int) -> None:
    for seed in range(20):
        strikes = plan(seconds, CABLES, dice_of(seed))
        deaths = Counter(a["program"] for s in strikes for a in s.actions if a["do"] == "kill")
        assert all(deaths[program] >= times for program in PROGRAMS)


@pytest.mark.parametrize(
    ("lived", "planned", "due"),
    [
        (12.0, 12.0, 0),
        (25.0, 25.0, 1),
        (30.0, 30.0, 2),
        (120.0, 120.0, 2),
        (10.0, 30.0, 0),
        (2.0, 120.0, 0),
        (30.0, None, 0),
        (70.0, None, 2),
        (4000.0, None, 2),
    ],
)
def test_a_run_that_is_long_enough_must_have_killed_each_several_times(
    lived: float, planned: float | None, due: int
) -> None:
    assert kills_due(lived, planned) == due


@given(st.floats(1, 300), st.floats(0, 1), st.integers(0, 10_000))
def test_no_more_kills_are_asked_for_than_were_planned_until_then(
    planned: float, share: float, seed: int
) -> None:
    """With one to spare, wherever any is asked for: it may hit nobody."""
    lived = planned * share
    strikes = [s for s in plan(planned, CABLES, dice_of(seed)) if s.at <= lived]
    deaths = Counter(a["program"] for s in strikes for a in s.actions if a["do"] == "kill")
    due = kills_due(lived, planned)
    assert due == 0 or all(deaths[program] > due for program in PROGRAMS)


def test_sometimes_two_die_together_and_not_always() -> None:
    strikes = [s for seed in range(20) for s in plan(120.0, CABLES, dice_of(seed))]
    kills = [strike for strike in strikes if strike.actions[0]["do"] == "kill"]
    assert {len(strike.actions) for strike in kills} == {1, 2}


@given(st.floats(1, 600), st.integers(0, 10_000))
def test_strikes_come_in_order_within_their_time_and_faults_end(seconds: float, seed: int) -> None:
    strikes = plan(seconds, CABLES, dice_of(seed))
    assert strikes == sorted(strikes)
    assert all(0 <= strike.at <= seconds + 6.0 for strike in strikes)
    actions = [action for strike in strikes for action in strike.actions]
    begun = Counter((a["do"], a.get("cable")) for a in actions if a.get("on") is True)
    ended = Counter((a["do"], a.get("cable")) for a in actions if a.get("on") is False)
    assert begun == ended


def test_the_same_seed_makes_the_same_plan() -> None:
    assert plan(60.0, CABLES, dice_of(3)) == plan(60.0, CABLES, dice_of(3))
    assert plan(60.0, CABLES, dice_of(3)) != plan(60.0, CABLES, dice_of(4))
