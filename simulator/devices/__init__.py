"""The devices of the virtual hall: each one at the far end of a real pty or TCP socket.

A device here speaks the real protocol of the thing it stands for, with its own parser: it shares
no codec with the drivers, so that both sides have to agree with the wire and not with each other.
All of them live on one event loop, do nothing while nothing happens, and keep a bounded history
of what they really received. Times are ``loop.time()`` seconds.
"""

from simulator.devices.bx_screen import ScreenArea, ScreenUpdate, VirtualBxScreen
from simulator.devices.device import VirtualDevice
from simulator.devices.endpoint import Endpoint, LineFaults, PtyEndpoint, TcpEndpoint
from simulator.devices.modbus_bus import VirtualIoModule, VirtualModbusBus
from simulator.devices.paper import Paper, QrCode, Raster, TextLine
from simulator.devices.pigpiod import VirtualPigpiod
from simulator.devices.printer import VirtualPrinter
from simulator.devices.relay import Relay, RelayMode

__all__ = [
    "Endpoint",
    "LineFaults",
    "Paper",
    "PtyEndpoint",
    "QrCode",
    "Raster",
    "Relay",
    "RelayMode",
    "ScreenArea",
    "ScreenUpdate",
    "TcpEndpoint",
    "TextLine",
    "VirtualBxScreen",
    "VirtualDevice",
    "VirtualIoModule",
    "VirtualModbusBus",
    "VirtualPigpiod",
    "VirtualPrinter",
]
