"""What the hall says to people."""

import pytest

from contract.names import Language
from edge import words
from edge.queue.plan import WaitEstimate


@pytest.mark.parametrize(
    ("p50_seconds", "p90_seconds", "told"),
    [
        (0.0, 0.0, (1, 1)),
        (61.0, 119.0, (2, 2)),
        (720.0, 1200.0, (12, 20)),
        (1201.0, 1801.0, (25, 35)),
    ],
)
def test_a_wait_is_told_in_minutes_that_people_can_believe(
    p50_seconds: float, p90_seconds: float, told: tuple[int, int]
) -> None:
    assert words.minutes(WaitEstimate(3, p50_seconds, p90_seconds, "test")) == told


def test_nobody_is_told_a_wait_that_nobody_knows() -> None:
    assert words.minutes(WaitEstimate(3, None, None, "unknown:test")) is None
    assert words.idle(3, None, Language.ZH) == "等候3人"


def test_a_wait_that_is_no_range_is_not_told_as_one() -> None:
    assert words.idle(2, (1, 1), Language.ZH) == "等候2人 约1分钟"
    assert words.idle(2, (1, 3), Language.EN) == "2 waiting, 1-3 min"


def test_a_free_window_welcomes_instead_of_counting_nobody() -> None:
    assert words.idle(0, (1, 1), Language.EN) == "Welcome"
