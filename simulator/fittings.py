"""All devices of the virtual hall, wired as ``layout`` says, and their cables by name."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from simulator import layout
from simulator.devices import (
    Endpoint,
    PtyEndpoint,
    TcpEndpoint,
    VirtualBxScreen,
    VirtualDevice,
    VirtualIoModule,
    VirtualModbusBus,
    VirtualPigpiod,
    VirtualPrinter,
)
from simulator.layout import DemoWindow, Places
from simulator.panels import GpioPanel, ModulePanel, Panel

PAPER_MM_PER_SECOND = 250.0
DISPENSER = "dispenser"
PRINTER = "printer"


class Fittings:
    """Printer, dispenser, screens, callers, evaluators; each at the far end of its own wire."""

    def __init__(self, places: Places, *, seed: int) -> None:
        self.windows: Mapping[int, DemoWindow] = {w.number: w for w in places.windows}
        self.printer = VirtualPrinter(
            TcpEndpoint(seed=seed), mm_per_second=PAPER_MM_PER_SECOND, link_follows_power=True
        )
        self.pi = VirtualPigpiod()
        self.dispenser = GpioPanel(
            DISPENSER, self.pi, layout.DISPENSER_KEYS, layout.DISPENSER_LAMPS
        )
        self.screens: dict[int, VirtualBxScreen] = {}
        self.buses: dict[str, VirtualModbusBus] = {}
        self.panels: dict[str, Panel] = {DISPENSER: self.dispenser}
        for number, window in self.windows.items():
            endpoint: Endpoint = (
                TcpEndpoint(seed=seed + number)
                if window.screen_on_tcp
                else PtyEndpoint(places.serial_port(window.screen), seed=seed + number)
            )
            self.screens[number] = VirtualBxScreen(endpoint)
        for name in dict.fromkeys(window.bus for window in places.windows):
            self._add_bus(name, PtyEndpoint(places.serial_port(name), seed=seed))

    def _add_bus(self, name: str, endpoint: Endpoint) -> None:
        windows = [window for window in self.windows.values() if window.bus == name]
        modules = {
            unit: VirtualIoModule(unit)
            for window in windows
            for unit in (window.caller_unit, window.evaluator_unit)
        }
        bus = VirtualModbusBus(endpoint, modules.values())
        self.buses[name] = bus
        for window in windows:
            self.panels[window.caller] = ModulePanel(
                window.caller,
                modules[window.caller_unit],
                bus,
                layout.CALLER_KEYS,
                layout.CALLER_LAMPS,
            )
            self.panels[window.evaluator] = ModulePanel(
                window.evaluator,
                modules[window.evaluator_unit],
                bus,
                layout.EVALUATOR_KEYS,
                layout.EVALUATOR_LAMPS,
            )

    def caller(self, window: int) -> Panel:
        return self.panels[self.windows[window].caller]

    def evaluator(self, window: int) -> Panel:
        return self.panels[self.windows[window].evaluator]

    async def start(self) -> None:
        """Plug everything in. Raises ``OSError``."""
        await self.pi.start()
        for device in self._devices():
            await device.start()

    async def stop(self) -> None:
        for device in self._devices():
            await device.stop()
        await self.pi.stop()

    def on_change(self, callback: Callable[[], None]) -> None:
        for device in self._devices():
            device.on_change(callback)
        for panel in self.panels.values():
            panel.on_change(callback)
        self.pi.on_change(callback)

    def look(self, at: float) -> None:
        """Note which panels are plugged and served; called often."""
        for panel in self.panels.values():
            panel.look(at)

    # --- cables -----------------------------------------------------------------------------------

    @property
    def cables(self) -> list[str]:
        """Everything that can be unplugged, by its name in the hall's file."""
        screens = [window.screen for window in self.windows.values()]
        return [PRINTER, *screens, *self.panels, *self.buses]

    def plug(self, cable: str, plugged: bool) -> None:
        """Pull a cable, or put it back. Raises ``KeyError`` for one that is not in ``cables``."""
        if cable in self.panels:
            self.panels[cable].plug(plugged)
            return
        device = self._wired()[cable]
        if plugged:
            device.plug()
        else:
            device.unplug()

    def plugged(self, cable: str) -> bool:
        if cable in self.panels:
            return self.panels[cable].plugged
        return self._wired()[cable].endpoint.plugged

    def _wired(self) -> dict[str, VirtualDevice]:
        screens = {self.windows[number].screen: screen for number, screen in self.screens.items()}
        return {PRINTER: self.printer, **screens, **self.buses}

    def _devices(self) -> Iterator[VirtualDevice]:
        yield self.printer
        yield from self.screens.values()
        yield from self.buses.values()

    # --- for the page -----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What ``VirtualHall.snapshot`` shows of the devices."""
        return {
            "dispenser": {
                **_named(self.dispenser.snapshot()),
                "printer": self.printer.snapshot(),
            },
            "windows": [
                {
                    "window": number,
                    "clerk": window.clerk,
                    "skills": window.skills if window.skills == "all" else list(window.skills),
                    "screen": self.screens[number].snapshot(),
                    "caller": _named(self.caller(number).snapshot()),
                    "evaluator": _named(self.evaluator(number).snapshot()),
                }
                for number, window in self.windows.items()
            ],
        }


def _named(panel: dict[str, Any]) -> dict[str, Any]:
    """Keys and lamps as lists, with their names in both languages."""
    keys = [
        {"key": key, "name": dict(layout.KEY_NAMES[key]), **state}
        for key, state in panel["keys"].items()
    ]
    lamps = [
        {"lamp": lamp, "name": dict(layout.LAMP_NAMES[lamp]), "lit": lit}
        for lamp, lit in panel["lamps"].items()
    ]
    return {**panel, "keys": keys, "lamps": lamps}
