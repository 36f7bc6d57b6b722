"""The journal's schema, one SQL file per version, applied in order, each in a transaction.

``schema/0002.sql`` is all that version 2 needs. ``PRAGMA user_version`` holds the file's version.
"""

import re
import sqlite3
from pathlib import Path

from edge.journal.errors import JournalError, JournalTooNew

SCHEMA_DIR = Path(__file__).parent / "schema"
APPLICATION_ID = 0x4E536A31
"""Marks the file as a journal of ours in its SQLite header."""


def schema_files(directory: Path = SCHEMA_DIR) -> list[Path]:
    """The schema's files: version n is the n-th.

    Raises ``JournalError`` when a number is missing or doubled.
    """
    files = sorted(path for path in directory.iterdir() if re.fullmatch(r"\d{4}\.sql", path.name))
    if [int(path.stem) for path in files] != list(range(1, len(files) + 1)) or not files:
        raise JournalError(f"schema files in {directory} are not numbered 0001, 0002, …")
    return files


def refuse_others(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a journal, 0 of a new file; only reads.

    Raises ``JournalError`` for a database that is not a journal, and ``sqlite3.Error``.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (tables or version):
        raise JournalError(
            f"{path} is a database of something else, not a journal. It is left as it is: name "
            "another file (path in [journal])"
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path, directory: Path = SCHEMA_DIR) -> None:
    """Bring the open database (autocommit) to the newest version.

    Raises ``JournalTooNew`` for a file of a newer version, ``JournalError`` for a database that is
    not a journal, and ``sqlite3.Error``; the file is then as it was.
    """
    files = schema_files(directory)
    version = refuse_others(connection, path)
    if version > len(files):
        raise JournalTooNew(
            f"journal {path} has version {version}, this software knows versions up to "
            f"{len(files)}: install the newer software again, or start with another file"
        )
    for file in files[version:]:
        sql = file.read_text(encoding="utf-8")
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {int(file.stem)}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
