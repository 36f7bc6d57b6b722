"""When was that? Hall time told in the time of fingers and eyes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.timeline import Timeline


def test_hall_time_is_found_again_before_between_and_after_the_notes() -> None:
    timeline = Timeline()
    timeline.note(600.0, 10.0)
    timeline.note(1200.0, 20.0)
    found = [timeline.loop_time(hall) for hall in (540, 600, 630, 1200, 1260)]
    assert found == pytest.approx([9.0, 10.0, 10.5, 20.0, 21.0])
    assert [timeline.hall_time(loop) for loop in found] == [540, 600, 630, 1200, 1260]


def test_before_two_notes_nothing_can_be_told() -> None:
    timeline = Timeline()
    timeline.note(600.0, 10.0)
    with pytest.raises(ValueError, match="not been seen"):
        timeline.loop_time(600.0)


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 10.0, 60.0, 3600.0]), st.integers(1, 60)),
        min_size=1,
        max_size=8,
    )
)
def test_every_moment_of_a_day_with_many_speeds_is_found_to_a_tenth_of_a_second(
    stretches: list[tuple[float, int]],
) -> None:
    """Noted ten times a second, as the hall does."""
    timeline, hall, loop = Timeline(), 1_000_000.0, 50.0
    moments = [(hall, loop)]
    timeline.note(hall, loop)
    for speed, tenths in stretches:
        for _ in range(tenths):
            hall, loop = hall + speed * 0.1, loop + 0.1
            moments.append((hall, loop))
            timeline.note(hall, loop)
    timeline.note(hall + 1.0, loop + 1.0)
    for hall_moment, loop_moment in moments:
        assert timeline.loop_time(hall_moment) == pytest.approx(loop_moment, abs=0.1)


def test_even_hours_take_no_room() -> None:
    timeline = Timeline()
    for tenth in range(36_000):
        timeline.note(60.0 * tenth / 10, tenth / 10)
    assert len(timeline._hall) == 2
