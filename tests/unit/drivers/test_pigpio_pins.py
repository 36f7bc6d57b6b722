"""What ``pigpio_pins`` takes for granted of the inside of gpiozero and pigpio."""

import dis
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pigpio
from gpiozero.pins.pigpio import PiGPIOFactory

from edge.drivers.pigpio_pins import _Client, _Wire

REPOSITORY = Path(__file__).parents[3]


def attributes(function: Callable[..., Any], operation: str) -> set[str]:
    """Names that are stored in or loaded from objects."""
    return {
        instruction.argval
        for instruction in dis.get_instructions(function)
        if instruction.opname == operation
    }


def test_gpiozeros_factory_sets_what_ours_sets_in_its_place() -> None:
    stored = attributes(PiGPIOFactory.__init__, "STORE_ATTR")
    assert stored == {"pin_class", "_connection", "_host", "_port", "_spis"}


def test_gpiozero_takes_a_client_without_a_socket_for_closed() -> None:
    class Closed(PiGPIOFactory):  # type: ignore[misc] # gpiozero has no types
        def __init__(self, client: object) -> None:
            self._connection = client

    client = _Client.__new__(_Client)
    client.sl = _Wire(None)  # type: ignore[arg-type]
    assert Closed(client).connection is None


def test_pigpios_client_sets_what_ours_sets_in_its_place_or_replaces() -> None:
    replaced = {"_notify"}  # used by callback and stop, which are ours
    told = {"_host", "_port"}
    stored = attributes(pigpio.pi.__init__, "STORE_ATTR")
    assert stored - replaced - told == {"connected", "sl", "s"}
    assert {"callback", "stop"} <= vars(_Client).keys() & vars(pigpio.pi).keys()


def test_pigpios_commands_use_the_wire_by_two_names() -> None:
    wire = attributes(pigpio._pigpio_command, "LOAD_ATTR")
    assert {"s", "l"} <= wire
    assert vars(_Wire(None)).keys() == vars(pigpio._socklock()).keys() == {"s", "l"}  # type: ignore[arg-type]


def test_the_extra_is_pinned_to_the_pigpio_that_was_looked_into() -> None:
    project = tomllib.loads((REPOSITORY / "edge" / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["pigpio"] == [f"pigpio=={version('pigpio')}"]
