"""What every device's configuration has in common: its place in the hall, and what it occupies."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from contract.names import SLUG_PATTERN, Strict, WindowNumber

_THIS_MACHINE = re.compile(r"//(127\.0\.0\.1|\[::1\])(?=[:/]|$)")
_URL = re.compile(r"^[a-z0-9]+://", re.IGNORECASE)

InputName = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""The name of a key or lamp, as the hall uses it: ``call_next``, ``payment``, ``accepted`` …"""


_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class Fault:
    """Fields of one table that are right alone and wrong together."""

    path: tuple[str, ...]
    """The field to change, and where in its value: ``("keys", "recall")``."""
    what: str
    right: Mapping[str, Any] | None = None
    """A field with a value that would be right; empty to leave ``path`` out; ``None``: whatever
    value is an example of the field."""


class Contradicts(ValueError):
    """A table's fields do not fit together."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.what for fault in faults))
        self.faults = faults


class Typed(Strict):
    """A table whose values have the types that they have in the file."""

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, field: ValidationInfo) -> object:
        """TOML tells ``true`` from ``1`` and ``"5"`` from ``5``; pydantic would take either."""
        assert field.field_name is not None
        kinds = _kinds_of(cls.model_fields[field.field_name].annotation)
        numbers = kinds & {int, float}
        if numbers and not kinds & {bool, str} and isinstance(value, bool | str):
            raise PydanticKnownError("int_type" if int in numbers else "float_type")
        if bool in kinds and not isinstance(value, bool):
            raise PydanticKnownError("bool_type")
        return value


class Table(Typed):
    """A table whose fields must fit together. Raises ``Contradicts`` with every fault."""

    def rules(self) -> list[Callable[[], Iterator[Fault]]]:
        """What is looked at, each on its own: the configuration's check also asks a table of
        which some fields could not be read, and then a rule that needs one of them is left out."""
        return []

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults = [fault for rule in self.rules() for fault in rule()]
        if faults:
            raise Contradicts(faults)
        return self


def _kinds_of(annotation: Any) -> set[type]:
    """The plain types that a field's annotation names."""
    if isinstance(annotation, type):
        return {annotation}
    return {kind for part in get_args(annotation) for kind in _kinds_of(part)}


def as_far_as_read(ask: Callable[[], Iterable[_Told]]) -> list[_Told]:
    """What ``ask`` tells; nothing where it needs a field of a table that could not be read."""
    try:
        return list(ask())
    except AttributeError as error:
        if isinstance(error.obj, BaseModel) and error.name in type(error.obj).model_fields:
            return []
        raise


class Role(StrEnum):
    """What a device is for in the hall."""

    DISPENSER = "dispenser"
    """Ticket buttons (取号机): one key per service."""
    CALLER = "caller"
    EVALUATOR = "evaluator"
    PRINTER = "printer"
    CALL_SCREEN = "call_screen"


ROLES_AT_A_WINDOW = frozenset({Role.CALLER, Role.EVALUATOR, Role.CALL_SCREEN})
KEYPAD_ROLES = frozenset({Role.DISPENSER, Role.CALLER, Role.EVALUATOR})


class DeviceConfig(Table):
    """One ``[devices.NAME]`` table. A driver adds ``driver: Literal["its name"]`` and its fields.

    Its rules are broken by a role that the driver can't fill, by a missing window where the role
    stands at one, and by a window where it doesn't.
    """

    roles: ClassVar[frozenset[Role]] = frozenset(Role)
    """The roles that the driver can fill; each driver narrows it."""

    role: Role = Field(title="Role", description="What the device is for in the hall.")
    window: WindowNumber | None = Field(
        default=None,
        title="Window",
        description="The window it belongs to: for a caller, an evaluator and a call screen.",
    )

    def rules(self) -> list[Callable[[], Iterator[Fault]]]:
        return [self._driver_can_be_it, self._window_fits_role]

    def _driver_can_be_it(self) -> Iterator[Fault]:
        if self.role not in self.roles:
            able = sorted(self.roles)
            what = f"this driver can't be {_a(self.role)}; it can be: {', '.join(able)}"
            yield Fault(("role",), what, {"role": able[0]})

    def _window_fits_role(self) -> Iterator[Fault]:
        at_a_window = self.role in ROLES_AT_A_WINDOW
        if at_a_window and self.window is None:
            yield Fault(("window",), f"is missing: {_a(self.role)} belongs to a window")
        if not at_a_window and self.window is not None:
            yield Fault(("window",), f"{_a(self.role)} belongs to no window: leave it out", {})

    def claims(self) -> list[str]:
        """What the device occupies alone: ``gpio:17``, ``port:/dev/ttyAMA0``,
        ``bus:rs485/unit 3``. Two devices with one claim in common can't both work."""
        return []


def _a(role: Role) -> str:
    return f"an {role}" if role is Role.EVALUATOR else f"a {role}"


def each_on_its_own(
    field: str, places: Mapping[str, int], what: str, free: Iterable[int]
) -> Iterator[Fault]:
    """Two names of ``field`` that share one place: a pin, an input, an output. ``free``: places
    that would be right."""
    unused = iter(free)
    names: dict[int, str] = {}
    for name, place in places.items():
        if place in names:
            what_is_wrong = f"{names[place]} and {name} are both on {what} {place}"
            yield Fault((field, name), what_is_wrong, {field: moved(places, name, unused)})
        names.setdefault(place, name)


def moved(places: Mapping[str, int], name: str, free: Iterator[int]) -> dict[str, int]:
    """``places`` with ``name`` on the next free one; without it where there is none."""
    place = next(free, None)
    others = {each: at for each, at in places.items() if each != name}
    return others if place is None else {**others, name: place}


def port_claim(port: str) -> str:
    """The claim on a serial port, a device file, or something at ``scheme://host:port``.

    All names of one thing make one claim: a link and the file it leads to, where that is plugged
    in now; a host in capitals; this machine as ``localhost`` or by its loopback address.
    """
    if _URL.match(port):
        return f"port:{_THIS_MACHINE.sub('//localhost', port.lower())}"
    return f"port:{os.path.realpath(port)}"


def conflicts(holders: Mapping[str, Iterable[str]]) -> list[tuple[str, list[str]]]:
    """Every claim that several make, with all who make it.

    ``holders``: claims by the name of who makes them, e.g. ``devices.caller-3`` → its claims.
    """
    by_claim: dict[str, list[str]] = {}
    for holder, claims in holders.items():
        for claim in dict.fromkeys(claims):
            by_claim.setdefault(claim, []).append(holder)
    return [(claim, names) for claim, names in by_claim.items() if len(names) > 1]
