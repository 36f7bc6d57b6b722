"""The benchmarks run, and their rows can be right. How quick anything is, is not judged here."""

import re
from pathlib import Path

from bench.__main__ import Size, run
from bench.machine import describe
from bench.past import EVENTS_A_DAY, TICKETS_A_DAY, fill
from bench.report import Row, page, percentile
from contract.events import TicketIssued
from edge.bootstrap import restore
from edge.journal.database import check_all
from edge.journal.journal import Journal
from edge.ulid import new_ulid

TINY = Size(
    past_tickets=TICKETS_A_DAY,
    seconds=0.1,
    rounds=1,
    windows=(1,),
    presses=2,
    press_seconds=60.0,
    past_events=EVENTS_A_DAY,
    starts=1,
    backlog=EVENTS_A_DAY,
)


def numbers(row: Row) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\.?\d*", row.figure)]


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def rows_of(part: str, disk: Path) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for row in await run([part], disk, TINY):
        rows.setdefault(row.what, []).append(row)
        assert row.figure
        assert "nan" not in row.figure
        assert "inf" not in row.figure
        assert (row.met is None) == (row.limit == "")
    return rows


async def test_commands_are_measured_alone_and_together_with_and_without_a_past(
    tmp_path: Path,
) -> None:
    rows = await rows_of("commands", tmp_path)
    assert [row.where for row in rows["durable commands/s"]] == [
        "1 caller, 0 past tickets",
        "1 caller, 500 past tickets",
        "32 callers, 0 past tickets",
        "32 callers, 500 past tickets",
    ]
    assert all(numbers(row)[0] > 0 for row in rows["durable commands/s"])
    (bare,) = rows["commits/s of SQLite alone"]
    assert numbers(bare)[0] > 0
    assert len(rows["the same, against SQLite alone"]) == 4
    assert len(rows["the same, against no past"]) == 2
    assert left_in(tmp_path) == [], "it cleans up behind itself"


async def test_a_hall_is_measured_from_press_to_light_and_paper(tmp_path: Path) -> None:
    rows = await rows_of("hall", tmp_path)
    (with_bus,) = rows["press → LED bytes"]
    (without_bus,) = rows["press → LED bytes, bus wait out"]
    assert 0 < numbers(without_bus)[0] <= numbers(with_bus)[0]
    (paper,) = rows["press → last ticket byte"]
    assert numbers(paper)[0] >= 20, "a button has to be stable for 20 ms"
    (memory,) = rows["resident memory of the controller"]
    assert 10 < numbers(memory)[0] < 1000
    empty, full = rows["start, exec → ready"]
    assert "empty" in empty.where
    assert f"{EVENTS_A_DAY // 1000}," in full.where
    assert left_in(tmp_path) == []


async def test_a_backlog_is_drained_and_counted(tmp_path: Path) -> None:
    rows = await rows_of("drain", tmp_path)
    (drained,) = rows["drain of a backlog to the centre"]
    assert numbers(drained)[0] > 0
    assert left_in(tmp_path) == []


async def test_a_past_is_a_sound_journal_that_a_hall_can_go_on_with(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made = fill(path, "bench", days=3, acked=True)
    assert check_all(path) == []
    journal = await Journal.open(path, hall="bench", new_epoch=new_ulid)
    try:
        state, position = await restore(journal)
        assert (position, journal.head, journal.acked) == (made, made, made)
        assert not state.tickets, "yesterday is over"
        issued = [
            event.ticket
            async for _, event in journal.events_since(0)
            if isinstance(event, TicketIssued)
        ]
    finally:
        await journal.close()
    assert len(set(issued)) == len(issued) == 3 * TICKETS_A_DAY


def test_a_percentile_is_one_of_the_values_measured() -> None:
    seconds = [n / 1000 for n in range(1, 301)]
    assert percentile(seconds, 0.5) == 0.151
    assert percentile(seconds, 0.99) == 0.298
    assert percentile([0.004], 0.99) == 0.004
    assert percentile([], 0.99) == float("inf")


def test_the_page_names_the_machine_and_shows_limits_beside_figures(tmp_path: Path) -> None:
    row = Row("durable commands/s", "1 caller", "1,999", "≥ 2,000", met=False)
    text = page(describe(tmp_path), [row])
    assert "| durable commands/s | 1 caller | 1,999 | ≥ 2,000 | **no** |" in text
    assert "fdatasync" in text
    assert str(tmp_path) not in text
