"""Which powers are cut and when: decided by a seed, often enough, and never at the very end."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.chaos import PROGRAMS, plan
from simulator.habits import dice_of

CABLES = ["printer", "screen-1", "caller-1"]


@pytest.mark.parametrize(("seconds", "times"), [(5.0, 1), (45.0, 3), (120.0, 6)])
def test_each_program_dies_several_times(seconds: float, times: int) -> None:
    for seed in range(20):
        strikes = plan(seconds, CABLES, dice_of(seed))
        deaths = Counter(a["program"] for s in strikes for a in s.actions if a["do"] == "kill")
        assert all(deaths[program] >= times for program in PROGRAMS)


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
