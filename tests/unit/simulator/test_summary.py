"""What the terminal says of a run."""

from collections import defaultdict

import pytest

from simulator.cli import summary
from simulator.demo import excused_line, people_line


@pytest.mark.parametrize(("presses", "begins"), [(1, "1 press met"), (2, "2 presses met")])
def test_a_press_that_nobody_could_answer_is_not_said_to_be_repeated(
    presses: int, begins: str
) -> None:
    line = excused_line(presses)
    assert line.startswith(begins)
    assert "not counted as unanswered" in line
    assert "repeated" not in line


def test_people_who_wait_and_tickets_that_wait_have_different_names() -> None:
    figures = defaultdict(int, waiting=14)
    assert "14 tickets waiting" in summary(figures)
    assert "people waiting 2" in people_line({"in_hall": 3, "waiting": 2})
