"""What every device's configuration has in common: its place in the hall, and what it occupies."""

import os
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from contract.names import SLUG_PATTERN, Strict, WindowNumber

_THIS_MACHINE = re.compile(r"//(127\.0\.0\.1|\[::1\])(?=[:/]|$)")
_URL = re.compile(r"^[a-z0-9]+://", re.IGNORECASE)

InputName = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""The name of a key or lamp, as the hall uses it: ``call_next``, ``payment``, ``accepted`` …"""


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


class DeviceConfig(Strict):
    """One ``[devices.NAME]`` table. A driver adds ``driver: Literal["its name"]`` and its fields.

    Raises ``ValueError`` for a role that the driver can't fill, for a missing window where the
    role stands at one, and for a window where it doesn't.
    """

    roles: ClassVar[frozenset[Role]] = frozenset(Role)
    """The roles that the driver can fill; each driver narrows it."""

    role: Role = Field(title="Role", description="What the device is for in the hall.")
    window: WindowNumber | None = Field(
        default=None,
        title="Window",
        description="The window it belongs to: for a caller, an evaluator and a call screen.",
    )

    @model_validator(mode="after")
    def _role_and_window_fit(self) -> Self:
        if self.role not in self.roles:
            able = ", ".join(sorted(self.roles))
            raise ValueError(f"this driver can't be a {self.role}; it can be: {able}")
        if self.role in ROLES_AT_A_WINDOW and self.window is None:
            raise ValueError(f"a {self.role} belongs to a window: add, for example, window = 3")
        if self.role not in ROLES_AT_A_WINDOW and self.window is not None:
            raise ValueError(f"a {self.role} belongs to no window: remove window")
        return self

    def claims(self) -> list[str]:
        """What the device occupies alone: ``gpio:17``, ``port:/dev/ttyAMA0``,
        ``bus:rs485/unit 3``. Two devices with one claim in common can't both work."""
        return []


def each_on_its_own(places: Mapping[str, int], what: str) -> None:
    """Raises ``ValueError`` when two names share one place: a pin, an input, an output."""
    names: dict[int, str] = {}
    for name, place in places.items():
        if place in names:
            raise ValueError(f"{names[place]} and {name} are both on {what} {place}")
        names[place] = name


def port_claim(port: str) -> str:
    """The claim on a serial port, a device file, or something at ``scheme://host:port``.

    All names of one thing make one claim: a link and the file it leads to, where that is plugged
    in now; a host in capitals; this machine as ``localhost`` or by its loopback address.
    """
    if _URL.match(port):
        return f"port:{_THIS_MACHINE.sub('//localhost', port.lower())}"
    return f"port:{os.path.realpath(port)}"


def conflicts(holders: Mapping[str, Iterable[str]]) -> list[str]:
    """Every claim that is held twice, as a sentence that names the holders.

    ``holders``: claims by the name of who makes them, e.g. ``devices.caller-3`` → its claims.
    """
    by_claim: dict[str, list[str]] = {}
    for holder, claims in holders.items():
        for claim in claims:
            by_claim.setdefault(claim, []).append(holder)
    return [
        f"{claim} is claimed by {' and '.join(names)}; only one can have it"
        for claim, names in by_claim.items()
        if len(names) > 1
    ]
