"""A real controller process with virtual devices at the far end of real ptys and sockets."""

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from edge.drivers.keys import STABLE_SECONDS
from simulator.devices import (
    Paper,
    PtyEndpoint,
    TcpEndpoint,
    VirtualBxScreen,
    VirtualDevice,
    VirtualIoModule,
    VirtualModbusBus,
    VirtualPigpiod,
    VirtualPrinter,
)

PAYMENT_PIN, READY_PIN, NO_PAPER_PIN, ACCEPTED_PIN, REFUSED_PIN = 17, 5, 6, 13, 19
CALLER_KEYS = ("call_next", "recall", "start", "finish", "no_show", "pause", "park", "sign_on")
RATING_KEYS = ("very_satisfied", "satisfied", "neutral", "dissatisfied")
EVALUATOR_LAMPS = ("asking", "thanks", "refused", "accepted")

READ_DISCRETE_INPUTS = 2
"""Modbus function code: how a controller polls keys."""

WAIT_SECONDS = 20.0


class RealHall:
    """``windows`` windows on one RS-485 pty, screens by TCP, printer by TCP, buttons by GPIO."""

    def __init__(
        self, folder: Path, windows: int = 2, extra: str = "", disk: Path | None = None
    ) -> None:
        self.folder = folder
        self.numbers: Sequence[int] = range(1, windows + 1)
        self.extra = extra
        self.pigpiod = VirtualPigpiod(resistors=[PAYMENT_PIN])
        self.printer = VirtualPrinter(TcpEndpoint())
        self.screens = {n: VirtualBxScreen(TcpEndpoint()) for n in self.numbers}
        self.callers = {n: VirtualIoModule(n) for n in self.numbers}
        self.evaluators = {n: VirtualIoModule(100 + n) for n in self.numbers}
        self.bus = VirtualModbusBus(
            PtyEndpoint(folder / "rs485"), [*self.callers.values(), *self.evaluators.values()]
        )
        self.bus.on_answer(self._answered)
        self._polled_at: dict[int, float] = {}
        """When each unit last told of its keys."""
        self.config = folder / "hall.toml"
        self.journal = (disk or folder) / "journal.db"
        self.log = folder / "edge.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start_devices(self) -> None:
        await self.pigpiod.start()
        for device in self._on_wires():
            await device.start()
        self.write_config()

    def write_config(self) -> None:
        """The file of the hall as it is now: ``numbers`` are its windows."""
        self.config.write_text(self._toml(), encoding="utf-8")

    async def stop_devices(self) -> None:
        await self.pigpiod.stop()
        for device in self._on_wires():
            await device.stop()

    def _on_wires(self) -> list[VirtualDevice]:
        return [self.printer, self.bus, *self.screens.values()]

    async def start(self) -> None:
        """Start the controller and return when it says that it is ready."""
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(path))
            manager.setblocking(False)
            with self.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "edge.cli",
                    "run",
                    "--config",
                    str(self.config),
                    stderr=log,
                    env={
                        **os.environ,
                        "NOTIFY_SOCKET": str(path),
                        "GPIOZERO_PIN_FACTORY": "pigpio",
                        "PIGPIO_ADDR": "127.0.0.1",
                        "PIGPIO_PORT": str(self.pigpiod.port),
                    },
                )
            await self._ready(manager, self.process)

    async def _ready(self, manager: socket.socket, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if process.returncode is not None:
                    raise RuntimeError(f"the controller ended: {self.log.read_text()}")
                try:
                    if b"READY=1" in manager.recv(4096):
                        return
                except BlockingIOError:
                    await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.process.wait()

    # --- what people do and see ---------------------------------------------------------------

    async def take_a_number(self) -> Paper:
        """Press the button that is lit, and return the paper once the controller knows that it is
        out: until then its holder can't be called, which takes a printer longer than a test, not a
        person."""
        papers, printed = len(self.printer.papers), self.events("ticket.printed")
        await until(lambda: self.pigpiod.level(READY_PIN))
        await self._press_button()
        await until(lambda: len(self.printer.papers) > papers)
        await until(lambda: self.events("ticket.printed") > printed)
        return self.printer.papers[-1]

    async def _press_button(self) -> None:
        """Press until the lamp answers, then let go and wait as long as a contact bounces."""
        accepted = self._times_lit(ACCEPTED_PIN)
        await until(lambda: not self.pigpiod.level(ACCEPTED_PIN))
        self.pigpiod.hold(PAYMENT_PIN)
        try:
            await until(lambda: self._times_lit(ACCEPTED_PIN) > accepted)
        finally:
            self.pigpiod.release(PAYMENT_PIN)
        await asyncio.sleep(2 * STABLE_SECONDS)

    def _times_lit(self, pin: int) -> int:
        return sum(change.pin == pin and change.level for change in self.pigpiod.history)

    def events(self, kind: str) -> int:
        """How many events of a type the journal's file has now."""
        return int(
            self._in_journal(
                "SELECT count(*) FROM events WHERE body ->> 'type' = ?", f"hall.{kind}.v1"
            )[0]
        )

    def at(self) -> tuple[str, int]:
        """The epoch and the seq of the journal's newest event."""
        epoch, head = self._in_journal(
            "SELECT epoch, (SELECT max(position) FROM events) - base FROM epochs"
            " ORDER BY epochs.number DESC LIMIT 1"
        )
        return str(epoch), int(head)

    def _in_journal(self, query: str, *values: str) -> tuple[Any, ...]:
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as database:
            row: tuple[Any, ...] = database.execute(query, values).fetchone()
        return row

    async def press(self, window: int, key: str) -> str:
        """Press a caller's key; the lamp that answers."""
        return await self._pressed(self.callers[window], CALLER_KEYS.index(key), (0, 1))

    async def rate(self, window: int, rating: str) -> str:
        return await self._pressed(self.evaluators[window], RATING_KEYS.index(rating), (3, 2))

    async def _pressed(self, module: VirtualIoModule, key: int, lamps: tuple[int, int]) -> str:
        """Press until a lamp answers. On a busy machine polls are as far apart as taps are short:
        what they miss is another test's question."""
        await until(lambda: not any(module.outputs[lamp] for lamp in lamps))
        await self._seen_at_rest(module)
        seen = len(module.history)

        def lit() -> set[int]:
            changes = list(module.history)[seen:]
            return {change.output for change in changes if change.on}

        module.hold(key)
        try:
            await until(lambda: bool(lit() & set(lamps)))
        finally:
            module.release(key)
        return "accepted" if lamps[0] in lit() else "refused"

    async def _seen_at_rest(self, module: VirtualIoModule) -> None:
        """Return when the controller has seen the keys up for so long that it believes it: when it
        has asked for them, asked again knowing that answer, and again after the contacts' time."""
        loop = asyncio.get_running_loop()
        for seconds in (0.0, 0.0, 2 * STABLE_SECONDS):
            after = loop.time() + seconds
            await until(lambda after=after: self._polled_at.get(module.unit, 0.0) > after)  # type: ignore[misc]

    def _answered(self, unit: int, pdu: bytes) -> None:
        if pdu[0] == READ_DISCRETE_INPUTS:
            self._polled_at[unit] = asyncio.get_running_loop().time()

    async def shows(self, window: int, text: str) -> None:
        await until(lambda: text in self.screens[window].text)

    # --- the file -----------------------------------------------------------------------------

    def _toml(self) -> str:
        caller_keys = ", ".join(f"{key} = {n}" for n, key in enumerate(CALLER_KEYS))
        rating_keys = ", ".join(f"{key} = {n}" for n, key in enumerate(RATING_KEYS))
        lamps = ", ".join(f"{lamp} = {n}" for n, lamp in enumerate(EVALUATOR_LAMPS))
        parts = [
            f"""
[hall]
id = "riverside"
name = {{ zh = "滨江营业厅", en = "Riverside" }}
time_zone = "Asia/Shanghai"

[journal]
path = "{self.journal}"

[services.payment]
name = {{ zh = "缴费", en = "Payment" }}
prefix = "A"
numbers = [1, 9999]

[rules]
no_show_after_calls = 1
no_show_after_seconds = 0

[buses.desks]
port = "{self.bus.endpoint.url}"

[devices.printer]
driver = "escpos"
role = "printer"
port = "{self.printer.endpoint.url}"

[devices.buttons]
driver = "gpio"
role = "dispenser"
keys = {{ payment = {PAYMENT_PIN} }}

[devices.buttons.lamps]
ready = {READY_PIN}
no_paper = {NO_PAPER_PIN}
accepted = {ACCEPTED_PIN}
refused = {REFUSED_PIN}
{self.extra}
"""
        ]
        parts += [
            f"""
[windows.{n}]
skills = "all"
clerk = "{1000 + n}"

[devices.bar-{n}]
driver = "onbon_bx"
role = "call_screen"
window = {n}
port = "{self.screens[n].endpoint.url}"

[devices.caller-{n}]
driver = "modbus_io"
role = "caller"
window = {n}
bus = "desks"
unit = {self.callers[n].unit}
keys = {{ {caller_keys} }}
lamps = {{ accepted = 0, refused = 1 }}

[devices.evaluator-{n}]
driver = "modbus_io"
role = "evaluator"
window = {n}
bus = "desks"
unit = {self.evaluators[n].unit}
keys = {{ {rating_keys} }}
lamps = {{ {lamps} }}
"""
            for n in self.numbers
        ]
        return "".join(parts)


@asynccontextmanager
async def real_hall(
    folder: Path, windows: int = 2, extra: str = "", disk: Path | None = None
) -> AsyncIterator[RealHall]:
    """Devices plugged in; the controller is started by the caller, and stopped here.

    ``disk``: where the journal is, if not in ``folder``.
    """
    hall = RealHall(folder, windows, extra, disk)
    await hall.start_devices()
    try:
        yield hall
    finally:
        if hall.process is not None and hall.process.returncode is None:
            await hall.kill()
        await hall.stop_devices()


async def until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Return when it is true; raises ``TimeoutError``."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
