"""The journal's schema: files of old versions are brought up, newer ones are refused."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal, JournalError, JournalTooNew
from edge.journal.database import check_all, connect
from edge.journal.migrations import SCHEMA_DIR, migrate, schema_files
from tests.support.hall_events import HALL, called, device, epochs, life, ulid

DATA = Path(__file__).parent / "data"
V1 = DATA / "journal-v1.sqlite"
"""Written by version 1: twelve events of two tickets, seq 10 acked, a snapshot at 6."""


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    shutil.copyfile(V1, path)
    return path


@pytest.fixture
def newer_schema(tmp_path: Path) -> Path:
    """The schema of a version to come."""
    folder = tmp_path / "schema"
    folder.mkdir()
    for file in schema_files():
        shutil.copy(file, folder)
    (folder / f"{len(schema_files()) + 1:04}.sql").write_text(
        "ALTER TABLE journal ADD COLUMN grade TEXT NOT NULL DEFAULT 'A'; -- a remark at the end\n"
    )
    return folder


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version


async def test_a_file_of_version_1_opens_with_all_that_is_in_it(old_file: Path) -> None:
    journal = await Journal.open(old_file, hall=HALL, new_epoch=epochs())
    try:
        assert (journal.epoch, journal.head, journal.acked) == (ulid(1001), 12, 10)
        assert await journal.load_snapshot() == (6, '{"waiting": []}')
        events = [event async for _, event in journal.events_since(0)]
        assert events == life(0) + life(1)
        await journal.append([called(5, window=2)])
    finally:
        await journal.close()
    assert version_of(old_file) == len(schema_files())
    assert check_all(old_file) == []


def test_a_newer_schema_is_applied_to_an_old_file(old_file: Path, newer_schema: Path) -> None:
    with closing(connect(old_file)) as database:
        migrate(database, old_file, newer_schema)
        assert database.execute("SELECT hall, grade FROM journal").fetchall() == [(HALL, "A")]
        assert database.execute("SELECT count(*) FROM events").fetchone() == (12,)
    assert version_of(old_file) == len(schema_files(newer_schema))


def test_a_migrated_file_is_migrated_once(old_file: Path, newer_schema: Path) -> None:
    with closing(connect(old_file)) as database:
        migrate(database, old_file, newer_schema)
        migrate(database, old_file, newer_schema)


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    old_file: Path, newer_schema: Path
) -> None:
    broken = newer_schema / f"{len(schema_files()) + 1:04}.sql"
    broken.write_text("DELETE FROM events; ALTER TABLE nothing ADD COLUMN grade TEXT;")
    with closing(connect(old_file)) as database:
        with pytest.raises(sqlite3.OperationalError):
            migrate(database, old_file, newer_schema)
        assert database.execute("SELECT count(*) FROM events").fetchone() == (12,)
    assert version_of(old_file) == len(schema_files()), "as far as the last that worked"


async def test_a_newer_file_is_refused_by_name_and_left_alone(
    old_file: Path, newer_schema: Path
) -> None:
    with closing(connect(old_file)) as database:
        migrate(database, old_file, newer_schema)
    newer = version_of(old_file)
    with pytest.raises(JournalTooNew, match=rf"journal\.db has version {newer}"):
        await (await Journal.open(old_file, hall=HALL, new_epoch=epochs())).close()
    assert version_of(old_file) == newer


def test_schema_files_without_a_gap_are_demanded(tmp_path: Path) -> None:
    (tmp_path / "0001.sql").touch()
    (tmp_path / "0003.sql").touch()
    with pytest.raises(JournalError, match="not numbered"):
        schema_files(tmp_path)


def test_the_schemas_in_the_package_are_numbered() -> None:
    assert schema_files()[0] == SCHEMA_DIR / "0001.sql"


async def test_a_crash_before_the_first_event_is_made_good(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(connect(path)) as database:
        migrate(database, path)  # and then the power was cut: nobody said whose it is
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        assert await journal.append([device()]) == 1
    finally:
        await journal.close()
