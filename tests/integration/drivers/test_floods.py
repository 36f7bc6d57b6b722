"""A device that babbles without end keeps nobody else from the event loop."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from contract.names import DeviceId, DeviceStatus
from edge.drivers.escpos_printer import EscposConfig, EscposPrinter
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.onbon_screen import OnbonConfig, OnbonScreen
from edge.drivers.roles import Device
from edge.drivers.supervisor import Supervisor

TURNS = 200
"""Of another coroutine, while the flood lasts."""
LONGEST_SECONDS = 30.0
CHUNK_BYTES = 65_536


@contextmanager
def flood(piece: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A port that sends ``piece`` again and again, as fast as it is read, and when that is over:
    a stalled event loop can't stop it, so it stops by itself."""
    chunk = piece * (CHUNK_BYTES // len(piece))
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    end = threading.Timer(LONGEST_SECONDS, over.set)
    end.start()

    def babble(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(0.1)
            while not over.is_set():
                try:
                    connection.send(chunk)
                except TimeoutError:
                    continue
                except OSError:
                    return

    def accept() -> None:
        listener.settimeout(0.1)
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            talker = threading.Thread(target=babble, args=(connection,))
            talker.start()
            talkers.append(talker)

    talkers: list[threading.Thread] = []
    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}", over
    finally:
        end.cancel()
        over.set()
        accepting.join()
        for talker in talkers:
            talker.join()
        listener.close()


def _unheard(device: DeviceId, status: DeviceStatus, detail: str) -> None:
    pass


def printer(port: str) -> list[Device]:
    config = EscposConfig(driver="escpos", role="printer", port=port)
    return [EscposPrinter("printer", config, _unheard)]


def screen(port: str) -> list[Device]:
    config = OnbonConfig(driver="onbon_bx", role="call_screen", window=1, port=port)
    return [OnbonScreen("bar", config, _unheard)]


def bus(port: str) -> list[Device]:
    line = ModbusBus("rs485", BusConfig(port=port), _unheard)
    config = ModbusIoConfig(
        driver="modbus_io", role="caller", window=1, bus="rs485", unit=1, keys={"call_next": 0}
    )
    return [line, ModbusKeypad("caller", config, line, _unheard)]


@pytest.mark.parametrize(
    ("devices", "piece"),
    [
        pytest.param(printer, b"\xff\x84", id="printer, garbage"),
        pytest.param(printer, b"\x12", id="printer, answers to DLE EOT"),
        pytest.param(printer, b"\x00", id="printer, barriers"),
        pytest.param(printer, b"\x10\x00\x00\x00", id="printer, automatic status"),
        pytest.param(screen, b"\xa5", id="screen, beginnings of frames"),
        pytest.param(screen, b"\xa5\x5a", id="screen, empty frames"),
        pytest.param(screen, b"\x00", id="screen, garbage"),
        pytest.param(bus, b"\x01\x02", id="bus, beginnings of answers"),
        pytest.param(bus, os.urandom(4096), id="bus, noise"),
    ],
)
async def test_others_keep_getting_their_turn_while_a_port_is_flooded(
    devices: Callable[[str], list[Device]], piece: bytes
) -> None:
    with flood(piece) as (port, over):
        served = devices(port)
        tasks = [asyncio.create_task(Supervisor(device, _unheard).run()) for device in served]
        try:
            for _ in range(TURNS):
                await asyncio.sleep(0.001)
            assert served[0].counters()["opened"] == 1
            assert not over.is_set(), "nobody else had a turn until the flood was over"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
