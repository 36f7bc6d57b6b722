"""A whole hall to be measured: real processes, virtual devices on real wires."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from simulator import layout
from simulator.broker import plan_broker
from simulator.fittings import Fittings
from simulator.layout import Places, Wiring
from simulator.ports import free_ports
from simulator.processes import Program, stop_in_order

ENDLESSLY_FAST_MM_PER_SECOND = 1e6
"""A slip counts when its last byte is there: how fast paper moves is the printer's affair."""

TURNAROUND_SECONDS = 0.001
"""Of an I/O module, as the configuration's check reckons."""


class Stage:
    """A hall's controller, its broker and its centre, to be started in any order."""

    def __init__(self, places: Places, fittings: Fittings) -> None:
        self.places = places
        self.fittings = fittings
        directory = places.directory
        port, websocket_port, self._page_port = free_ports(0, 0, 0)
        self.plan = plan_broker(
            directory / "broker", hall=layout.HALL, port=port, websocket_port=websocket_port
        )
        python = (sys.executable, "-P", "-m")
        self.broker = self._program("broker", *self.plan.command, ports=(port, websocket_port))
        self.centre = self._program(
            *("centre", *python, "cloud_sync.cli", "run"),
            *("--config", str(self.places.sync_config)),
        )
        self.daemon = self._program(
            *("daemon", *python, "edge.cli", "run"), *("--config", str(self.places.hall_config))
        )

    def _program(self, name: str, *command: str, ports: tuple[int, ...] = ()) -> Program:
        return Program(
            name,
            command,
            log_file=self.places.log(name),
            socket_directory=self.places.sockets,
            environment={"LG_WD": str(self.places.sockets)},
            ports=ports,
        )

    def write_configurations(self) -> None:
        fittings, plan, places = self.fittings, self.plan, self.places
        wiring = Wiring(
            printer=fittings.printer.endpoint.url,
            pigpio=f"{fittings.pi.host}:{fittings.pi.port}",
            buses={name: bus.endpoint.url for name, bus in fittings.buses.items()},
            screens={number: screen.endpoint.url for number, screen in fittings.screens.items()},
            broker_port=plan.port,
        )
        hall = plan.users[layout.HALL]
        places.hall_config.write_text(
            layout.hall_toml(
                places,
                wiring,
                speed=1.0,
                username=hall.name,
                password_file=hall.password_file,
                protocol=plan.protocol,
            ),
            encoding="utf-8",
        )
        places.sync_config.write_text(
            layout.sync_toml(
                places,
                broker_port=plan.port,
                websocket_port=plan.websocket_port,
                password_file=plan.users["centre"].password_file,
                dashboards_password_file=plan.users["dashboards"].password_file,
                protocol=plan.protocol,
                page_port=self._page_port,
            ),
            encoding="utf-8",
        )

    def remove_journal(self) -> None:
        """So that the next start makes a new one."""
        for file in self.places.directory.glob(f"{self.places.journal.name}*"):
            file.unlink()

    async def stop(self) -> None:
        await stop_in_order([self.daemon.stop, self.centre.stop, self.broker.stop])


async def start_seconds(program: Program) -> float:
    """Start it; from before exec to its READY=1."""
    began = asyncio.get_running_loop().time()
    await program.start()
    ready_at = program.readiness.since
    assert ready_at is not None
    return ready_at - began


@asynccontextmanager
async def staged(disk: Path, windows: int) -> AsyncIterator[Stage]:
    """A stage with its devices plugged in, in a temporary folder in ``disk``, an absolute path."""
    with ExitStack() as folders:
        directory = folders.enter_context(tempfile.TemporaryDirectory(dir=disk, prefix=".bench-"))
        sockets = folders.enter_context(tempfile.TemporaryDirectory(prefix="ns-bench-"))
        everything = tuple(replace(w, skills="all") for w in layout.windows(windows))
        places = Places(Path(directory), Path(sockets), everything)
        fittings = Fittings(places, seed=1)
        try:
            await _plug_in(fittings)
            stage = Stage(places, fittings)
            stage.write_configurations()
            try:
                yield stage
            finally:
                await stage.stop()
        finally:
            await fittings.stop()


async def _plug_in(fittings: Fittings) -> None:
    fittings.printer.mm_per_second = ENDLESSLY_FAST_MM_PER_SECOND
    await fittings.start()
    for bus in fittings.buses.values():
        bus.endpoint.set_faults(baud=layout.BAUD)  # as slow as the wire, without any fault
        bus.turnaround_seconds = TURNAROUND_SECONDS
