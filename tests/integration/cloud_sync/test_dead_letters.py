"""What halls sent and could not be placed, printed for a person."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cloud_sync import cli
from cloud_sync.store.sqlite import SqliteStore
from contract import topics
from messaging.session import connect
from tests.support.broker import Broker
from tests.support.centre import running_centre


async def test_dead_letters_are_printed_while_the_service_runs_and_command_no_terminal(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_centre(tmp_path / "centre", broker) as centre:
        for hall in ("hall-a", "hall-b"):
            async with connect(broker.client(hall)) as session:
                await session.publish(topics.events(hall), b'{"\x1b[2J": "\\u001b[2J"}')
        command = ["dead-letters", "--config", str(centre.config)]
        async with asyncio.timeout(20):
            said = ""
            while said.count("halls/hall-") < 2:
                assert cli.main(command) == 0
                said = capsys.readouterr().out
                await asyncio.sleep(0.05)
        assert "\x1b" not in said
        assert cli._plain("a\x1b[2J") == "a\N{REPLACEMENT CHARACTER}[2J"
        assert cli.main([*command, "--hall", "hall-b", "--last", "1"]) == 0
        said = capsys.readouterr().out
        assert "halls/hall-b/v1/events" in said
        assert "hall-a" not in said
    # Of a service that has stopped, with a password that only the service is handed.
    config = centre.config.read_text(encoding="utf-8")
    config = config.replace("[mqtt]\n", '[mqtt]\nca_file = "/run/credentials/gone/ca"\n')
    centre.config.write_text(config, encoding="utf-8")
    assert cli.main(["check", "--config", str(centre.config)]) == cli.EXIT_CONFIG
    assert "/run/credentials/gone/ca can't be read" in capsys.readouterr().err
    assert cli.main([*command, "--hall", "hall-a"]) == 0
    assert "halls/hall-a/v1/events" in capsys.readouterr().out
    rebuild = ["rebuild", "--config", str(centre.config)]
    assert await asyncio.to_thread(cli.main, rebuild) == 0
    with pytest.raises(SystemExit):
        cli.main([*command, "--last", "0"])
    assert "is not a number from 1" in capsys.readouterr().err


def test_dead_letters_of_no_file_another_file_and_an_older_file_are_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = tmp_path / "centre.db", tmp_path / "sync.toml"
    config.write_text(f'[mqtt]\nhost = "h"\n[store]\npath = "{path}"\n', encoding="utf-8")

    def said() -> str:
        assert cli.main(["dead-letters", "--config", str(config)]) == cli.EXIT_FAILED
        shown = capsys.readouterr()
        assert shown.out == ""
        return shown.err

    assert said() == f"nowserving-sync: there is no file {path}\n"
    assert not path.exists()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE letters (dead)")
    assert "is a database of something else" in said()
    path.unlink()
    asyncio.run(opened_and_closed(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("PRAGMA user_version = 2")
    assert "was written by an earlier version: start the service of this one" in said()
    path.write_bytes(b"not SQLite" * 1000)
    assert f"store {path} is damaged, or no database" in said()


async def opened_and_closed(path: Path) -> None:
    await (await SqliteStore.open(path)).close()


def test_the_help_for_dead_letters_says_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["dead-letters", "--help"])
    text = capsys.readouterr().out
    for part in ("another event is kept as", "Example: nowserving-sync dead-letters", "--hall"):
        assert part in text
