"""The command line: it teaches, it names every problem, and it never shows a traceback."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from bench.past import fill
from contract.events import WindowPaused
from edge.cli import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from edge.journal.companion import FileLock
from edge.journal.journal import DeadLetter, Journal
from edge.ulid import new_ulid
from tests.support.hall_events import START, device

GOOD = """
[hall]
id = "riverside"
name = { zh = "滨江营业厅" }
time_zone = "Asia/Shanghai"

[journal]
path = "JOURNAL"

[services.payment]
name = { zh = "缴费" }
prefix = "A"

[windows.1]
skills = "all"
"""


def edge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def hall_file(folder: Path, text: str = GOOD) -> Path:
    file = folder / "hall.toml"
    file.write_text(text.replace("JOURNAL", str(folder / "journal.db")), encoding="utf-8")
    return file


def test_help_teaches_the_first_step() -> None:
    said = edge("--help")
    assert said.returncode == EXIT_OK
    assert "check --config hall.toml" in said.stdout
    assert "营业厅" in said.stdout
    assert "78 bad configuration" in said.stdout


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_commands_help_has_a_sentence_and_an_example(command: str) -> None:
    said = edge(command, "--help")
    assert said.returncode == EXIT_OK
    assert f"Example: nowserving-edge {command} --config hall.toml" in said.stdout
    assert "." in said.stdout.split("\n\n")[1], "a sentence"


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [((), "check a configuration"), (("journal",), "copy what is readable")],
)
def test_without_a_command_there_is_help(arguments: tuple[str, ...], offered: str) -> None:
    said = edge(*arguments)
    assert said.returncode == EXIT_USAGE
    assert "show this help message" in said.stderr
    assert offered in said.stderr


def test_a_good_file_is_called_good(tmp_path: Path) -> None:
    said = edge("check", "--config", hall_file(tmp_path))
    assert said.returncode == EXIT_OK
    assert "good. 1 window, 1 service, 0 devices" in said.stdout


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_bad_file_is_refused_with_all_its_problems_and_starts_nothing(
    tmp_path: Path, command: str
) -> None:
    bad = GOOD.replace('prefix = "A"', 'prefix = "aa1"').replace("time_zone", "timezone")
    said = edge(command, "--config", hall_file(tmp_path, bad))
    assert said.returncode == EXIT_CONFIG
    assert "3 problems" in said.stderr
    for key in ("services.payment.prefix", "hall.timezone", "hall.time_zone"):
        assert key in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "journal.db").exists()


def test_a_journal_that_cannot_be_made_is_said_in_one_message(tmp_path: Path) -> None:
    for path in ("/proc/nowhere/journal.db", "/proc/journal.db"):
        said = edge("run", "--config", hall_file(tmp_path, GOOD.replace("JOURNAL", path)))
        assert said.returncode == EXIT_FAILED, "the unit tries again: a disk may be mounted late"
        assert str(Path(path).parent) in said.stderr
        assert "Traceback" not in said.stderr
    assert edge("check", "--config", tmp_path / "hall.toml").returncode == EXIT_OK


def test_what_the_machine_lacks_is_a_problem_at_a_check(tmp_path: Path) -> None:
    nowhere = hall_file(tmp_path, GOOD.replace("JOURNAL", "/proc/nowhere/journal.db"))
    assert edge("check", "--config", nowhere).returncode == EXIT_CONFIG
    both = hall_file(tmp_path, nowhere.read_text(encoding="utf-8").replace('"A"', '"a"'))
    assert edge("run", "--config", both).returncode == EXIT_CONFIG, "that does not mend itself"


def test_a_database_of_something_else_is_left_alone_and_another_name_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    said = edge("run", "--config", hall_file(tmp_path))
    assert said.returncode == EXIT_FAILED
    assert "is a database of something else" in said.stderr
    assert "name another file (path in [journal])" in said.stderr
    assert path.read_bytes() == before


def test_a_journal_that_is_open_elsewhere_or_of_another_hall_is_told_what_next(
    tmp_path: Path,
) -> None:
    lock = FileLock(tmp_path / "journal.db")
    said = edge("run", "--config", hall_file(tmp_path))
    lock.release()
    assert "stop the other controller first, or give this one a file of its own" in said.stderr
    fill(tmp_path / "journal.db", "lakeside", days=1, acked=False)
    said = edge("run", "--config", hall_file(tmp_path))
    assert "belongs to hall 'lakeside', this is hall 'riverside': name a file of" in said.stderr


def test_a_journal_in_a_link_to_nowhere_is_told_what_next(tmp_path: Path) -> None:
    (tmp_path / "journal.db").symlink_to(tmp_path / "gone" / "journal.db")
    said = edge("run", "--config", hall_file(tmp_path))
    assert said.returncode == EXIT_FAILED
    assert f"leads to {tmp_path / 'gone' / 'journal.db'}, where there is none" in said.stderr
    assert "mount its disk" in said.stderr
    (tmp_path / "gone").mkdir()  # as an empty mount point is
    assert edge("run", "--config", hall_file(tmp_path)).returncode == EXIT_FAILED
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("text", [b"", b"this is no clock", b"x" * 4096])
def test_a_clock_file_that_is_none_is_refused_in_words(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "clock").write_bytes(text)
    said = edge("run", "--config", hall_file(tmp_path), "--clock-file", tmp_path / "clock")
    assert said.returncode == EXIT_USAGE
    assert "is no file of a shared clock" in said.stderr
    said = edge("run", "--config", hall_file(tmp_path), "--clock-file", tmp_path / "none")
    assert said.returncode == EXIT_USAGE
    assert "Traceback" not in said.stderr


def test_a_file_that_is_no_journal_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is not a database, at all" * 300)
    said = edge("run", "--config", hall_file(tmp_path))
    assert said.returncode == EXIT_FAILED
    assert "journal salvage" in said.stderr
    assert "Traceback" not in said.stderr
    looked = edge("journal", "check", tmp_path / "journal.db")
    assert looked.returncode == EXIT_FAILED
    first, *more = looked.stderr.splitlines()
    assert first == f"{tmp_path / 'journal.db'} is not sound:"
    assert more[0] == "  file is not a database"
    assert "journal salvage" in more[-1]


def test_a_file_of_which_nothing_is_left_has_a_way_out_too(tmp_path: Path) -> None:
    garbage = tmp_path / "g.db"
    garbage.write_bytes(b"this is not a database, at all" * 300)
    said = edge("journal", "salvage", garbage)
    assert said.returncode == EXIT_FAILED
    assert f"move {garbage} away" in said.stderr
    assert "start again: it makes a new journal" in said.stderr
    assert "The centre keeps what it has acknowledged" in said.stderr
    assert not (tmp_path / "g.db.salvaged").exists()


def test_a_journal_that_is_not_there_is_not_called_damaged(tmp_path: Path) -> None:
    said = edge("journal", "check", tmp_path / "nothing.db")
    assert said.returncode == EXIT_FAILED
    assert "there is no file" in said.stderr
    assert "salvage" not in said.stderr


def test_a_journal_is_shown_an_event_a_line(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "run", "--config", str(hall_file(tmp_path))],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "ready" in line:
            break
    run.terminate()
    run.communicate(timeout=20)
    shown = edge("journal", "show", tmp_path / "journal.db")
    assert shown.returncode == EXIT_OK
    first = shown.stdout.splitlines()[0]
    assert "hall.controller.started.v1" in first
    assert datetime.fromisoformat(first.split()[1]).tzinfo, "a time carries its zone"
    assert "hall.day.opened.v1" in shown.stdout.splitlines()[1]
    assert edge("journal", "show", tmp_path / "nothing.db").returncode == EXIT_FAILED


async def test_what_a_stranger_wrote_into_an_event_can_not_write_to_the_terminal(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    reason = "lunch\x1b]0;pwned\x07\n      99  2026-01-01T00:00:00  hall.day.closed.v1"
    paused = WindowPaused(at=device().at, window=1, clerk="1001", reason=reason)
    journal = await Journal.open(path, hall="riverside", new_epoch=new_ulid)
    await journal.append([paused])
    await journal.close()
    shown = edge("journal", "show", path)
    assert shown.returncode == EXIT_OK
    assert len(shown.stdout.splitlines()) == 1
    assert shown.stdout.rstrip("\n").isprintable()


def test_who_reads_only_the_first_lines_of_a_journal_sees_no_traceback(tmp_path: Path) -> None:
    fill(tmp_path / "journal.db", "riverside", days=1, acked=False)
    command = [sys.executable, "-m", "edge.cli", "journal", "show", str(tmp_path / "journal.db")]
    with subprocess.Popen(
        [*command, "--last", "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as show:
        assert show.stdout is not None
        assert show.stderr is not None
        assert show.stdout.readline()
        show.stdout.close()
        assert show.stderr.read() == ""
        assert show.wait(60) == EXIT_OK


async def test_what_could_not_be_taken_is_shown_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, hall="riverside", new_epoch=new_ulid)
    letter = DeadLetter(START, "halls/riverside/v1/ack", "epoch: a string", b'{"epoch": 1}\x1b')
    await journal.keep_dead_letters([letter, letter._replace(payload=b"x" * 4000)])
    await journal.close()
    shown = edge("journal", "dead-letters", path)
    assert shown.returncode == EXIT_OK
    what, payload, _, cut = shown.stdout.splitlines()
    when = START.astimezone().isoformat(timespec="seconds")  # with the zone
    assert what == f"{when}  halls/riverside/v1/ack: epoch: a string"
    assert payload.strip() == """b'{"epoch": 1}\\x1b'"""
    assert cut.endswith("x' …")
    assert edge("journal", "dead-letters", tmp_path / "nothing.db").returncode == EXIT_FAILED


@pytest.mark.parametrize("number", ["-1", "0", "9" * 30, "many"])
def test_a_number_of_events_that_is_none_is_refused_in_words(tmp_path: Path, number: str) -> None:
    shown = edge("journal", "show", tmp_path / "journal.db", f"--last={number}")
    assert shown.returncode == EXIT_USAGE
    assert "must be a whole number from 1 on" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_password_file_that_is_not_there_is_said_in_one_message(tmp_path: Path) -> None:
    text = GOOD + '\n[uplink]\nhost = "127.0.0.1"\npassword_file = "/nowhere/password"\n'
    said = edge("run", "--config", hall_file(tmp_path, text))
    assert said.returncode == EXIT_FAILED, "the unit tries again: it may be there then"
    assert "uplink.password_file: there is no file /nowhere/password" in said.stderr
    assert "Traceback" not in said.stderr
