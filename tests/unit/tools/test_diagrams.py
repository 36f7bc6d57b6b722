"""The page of the state machines says what the tables say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.queue.machines import ENDED, HALL, TICKET, WINDOW
from tools import diagrams


def test_the_page_is_up_to_date() -> None:
    assert diagrams.PAGE.read_text(encoding="utf-8") == diagrams.page(), (
        "run `python -m tools.diagrams`"
    )


@pytest.mark.parametrize("table", [TICKET, WINDOW, HALL], ids=["ticket", "window", "hall"])
def test_every_transition_of_a_table_is_drawn(table: diagrams.Table) -> None:
    arrows = set()
    for line in diagrams.diagram(table).splitlines():
        if match := re.fullmatch(r"    (\S+) --> (\w+): (.+)", line):
            arrows |= {(match[1], match[2], label) for label in match[3].split(", ")}
    assert arrows == {
        (state or "[*]", target, diagrams.label(event))
        for state, row in table.items()
        for event, target in row.items()
    }


def test_a_state_that_is_never_left_is_drawn_as_an_end() -> None:
    text = diagrams.diagram(TICKET)
    for state, row in TICKET.items():
        assert (f"    {state} --> [*]\n" in text) == (not row)
        assert row or state in ENDED


def test_a_drifted_page_is_found_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diagrams, "ROOT", tmp_path)
    monkeypatch.setattr(diagrams, "PAGE", tmp_path / "docs" / "page.md")
    assert diagrams.main(["--check"]) == 1
    assert "run `python -m tools.diagrams`" in capsys.readouterr().err
    assert diagrams.main([]) == 0
    assert diagrams.main(["--check"]) == 0
    assert diagrams.main(["--nonsense"]) == 2


def test_it_runs_as_the_docs_say() -> None:
    command = [sys.executable, "-m", "tools.diagrams", "--check"]
    run = subprocess.run(command, cwd=diagrams.ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
