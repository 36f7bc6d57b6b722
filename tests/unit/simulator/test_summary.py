"""What the terminal says of a run."""

import pytest

from simulator.demo import excused_line


@pytest.mark.parametrize(("presses", "begins"), [(1, "1 press met"), (2, "2 presses met")])
def test_a_press_that_nobody_could_answer_is_not_said_to_be_repeated(
    presses: int, begins: str
) -> None:
    line = excused_line(presses)
    assert line.startswith(begins)
    assert "not counted as unanswered" in line
    assert "repeated" not in line
