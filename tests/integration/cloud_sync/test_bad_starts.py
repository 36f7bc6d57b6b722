"""Starts that fail: one sentence that names the file or key and the next step, no traceback."""

import asyncio
import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.centre import CentreProcess
from tests.support.small_disk import mounted_small_disk


async def start(config: Path, command: str = "run") -> str:
    """What a start that fails says, but for its log; a traceback or a second sentence fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloud_sync.cli", command, "--config", str(config)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    (sentence,) = [
        line for line in said.decode().splitlines() if not line.startswith(("INFO", "WARNING"))
    ]
    assert process.returncode == 1
    return sentence


def with_store(tmp_path: Path, broker: Broker, store: Path) -> Path:
    """A configuration that is right but for this store."""
    centre = CentreProcess(tmp_path / "other", broker)
    text = centre.config.read_text(encoding="utf-8")
    centre.config.write_text(text.replace(str(centre.database), str(store)), encoding="utf-8")
    return centre.config


@pytest.mark.parametrize("turn", range(4))  # a thread may outlive the event loop, or may not
async def test_a_file_that_can_not_be_opened_is_named_with_what_to_do(
    broker: Broker, tmp_path: Path, turn: int
) -> None:
    store = tmp_path / f"socket{turn}.db"
    os.mknod(store, stat.S_IFSOCK | 0o600)
    said = await start(with_store(tmp_path, broker, store))
    assert f"store {store} can't be opened for writing: unable to open database file" in said
    assert "Let this user write to the file and to its folder" in said
    assert "key path in [store]" in said


async def test_a_folder_that_may_not_be_written_is_named_with_what_to_do(
    broker: Broker, tmp_path: Path
) -> None:
    store = Path("/proc/centre.db")  # nobody makes files there, root neither
    said = await start(with_store(tmp_path, broker, store))
    assert f"store {store} can't be opened: {store}.lock: " in said
    assert "key path in [store]" in said


async def test_a_link_to_a_folder_that_is_not_there_names_it(
    broker: Broker, tmp_path: Path
) -> None:
    store = tmp_path / "centre.db"
    store.symlink_to(tmp_path / "disk" / "centre.db")
    said = await start(with_store(tmp_path, broker, store))
    assert f"store {store}: there is no folder {tmp_path / 'disk'}. Mount its disk" in said


async def test_a_folder_that_is_not_there_is_not_made_for_its_disk_may_not_be_mounted(
    broker: Broker, tmp_path: Path
) -> None:
    store = tmp_path / "disk" / "centre.db"
    said = await start(with_store(tmp_path, broker, store))
    assert f"store {store}: there is no folder {store.parent}. Mount its disk or make it" in said
    assert "key path in [store]" in said
    assert not store.parent.exists()


@pytest.mark.parametrize("command", ["run", "rebuild"])
async def test_a_database_of_something_else_is_left_as_it_is(
    broker: Broker, tmp_path: Path, command: str
) -> None:
    store = tmp_path / "other.db"
    with closing(sqlite3.connect(store)) as other:
        other.execute("CREATE TABLE streams (x)")
    before = store.read_bytes()
    said = await start(with_store(tmp_path, broker, store), command)
    assert f"store {store} is a database of something else" in said
    assert "key path in [store]" in said
    assert store.read_bytes() == before


@pytest.mark.parametrize("command", ["run", "rebuild"])
async def test_garbage_is_named_and_left_as_it_is(
    broker: Broker, tmp_path: Path, command: str
) -> None:
    store = tmp_path / "garbage.db"
    store.write_bytes(b"this is no database. " * 1000)
    said = await start(with_store(tmp_path, broker, store), command)
    assert f"store {store} is damaged, or no database: file is not a database" in said
    assert "move it away" in said
    assert store.read_bytes() == b"this is no database. " * 1000


async def test_a_full_disk_is_named_with_what_to_do(broker: Broker, tmp_path: Path) -> None:
    with mounted_small_disk(tmp_path / "disk") as disk:
        filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(filler, bytes(4096)) == 4096:
                pass
        except OSError:
            pass  # full
        finally:
            os.close(filler)
        store = disk / "centre.db"
        said = await start(with_store(tmp_path, broker, store))
        assert f"store {store} can't be " in said
        assert "its disk" in said


@pytest.mark.parametrize("command", ["run", "rebuild"])
async def test_a_second_process_on_one_file_is_refused(
    broker: Broker, centre: CentreProcess, tmp_path: Path, command: str
) -> None:
    said = await start(with_store(tmp_path, broker, centre.database), command)
    assert f"store {centre.database} is open in another process" in said
    assert "stop the other nowserving-sync first" in said


async def test_a_file_is_free_again_when_its_process_was_killed(centre: CentreProcess) -> None:
    await centre.kill9()
    await centre.start()
    assert await centre.stop() == 0


async def test_a_port_in_use_is_named_with_its_key(
    broker: Broker, centre: CentreProcess, tmp_path: Path
) -> None:
    other = CentreProcess(tmp_path / "other", broker)
    text = other.config.read_text(encoding="utf-8")
    other.config.write_text(text.replace(f"port = {other.page_port}", f"port = {centre.page_port}"))
    said = await start(other.config)
    assert f"can't be served at 127.0.0.1:{centre.page_port}: another program listens" in said
    assert "port in [page]" in said
    assert "Errno" not in said


async def test_an_address_of_another_machine_is_named_with_its_key(
    broker: Broker, tmp_path: Path
) -> None:
    other = CentreProcess(tmp_path / "other", broker)
    text = other.config.read_text(encoding="utf-8")
    other.config.write_text(text.replace("[page]\n", '[page]\nhost = "192.0.2.1"\n'))
    said = await start(other.config)
    assert "can't be served at 192.0.2.1:" in said
    assert "host and port in [page]" in said
