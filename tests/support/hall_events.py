"""Events of a hall for tests: the life of a ticket, a business day, epochs."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count

from contract.events import (
    DeviceChanged,
    HallEvent,
    Place,
    TicketCalled,
    TicketFinished,
    TicketIssued,
    TicketPrinted,
    TicketRated,
    TicketStarted,
    WindowClosed,
    WindowOpened,
)
from contract.names import DeviceStatus, Language, Moment, Rating, Tier

HALL = "east-gate"
DAY = date(2026, 3, 2)
START = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(number: int) -> str:
    """A ULID that is told from others by its number."""
    text = ""
    for _ in range(26):
        text = _CROCKFORD[number % 32] + text
        number //= 32
    return text


def epochs() -> Callable[[], str]:
    """A source of new epochs: 1001, 1002, … as ULIDs."""
    numbers = count(1001)
    return lambda: ulid(next(numbers))


def moment(seconds: float = 0.0) -> Moment:
    return Moment(wall=START + timedelta(seconds=seconds), monotonic=seconds, boot="boot-1")


def issued(n: int, day: date = DAY, number: str | None = None) -> TicketIssued:
    """The n-th ticket of a hall's life; its number repeats every 900."""
    ordinal = n % 900 + 1
    return TicketIssued(
        at=moment(n),
        ticket=ulid(n),
        number=number or f"A{ordinal:03}",
        business_day=day,
        service="payment",
        tier=Tier.NORMAL,
        place=Place(anchor=ordinal),
        ordinal=ordinal,
        language=Language.ZH,
    )


def printed(n: int, day: date = DAY) -> TicketPrinted:
    return TicketPrinted.model_validate(issued(n, day).model_dump())


def _at_window(n: int, window: int, day: date, more: dict[str, object]) -> dict[str, object]:
    return issued(n, day).model_dump() | {"window": window, "clerk": f"10{window}"} | more


def called(n: int, window: int, day: date = DAY) -> TicketCalled:
    more: dict[str, object] = {"first_call": True, "wait_seconds": 12.5}
    return TicketCalled.model_validate(_at_window(n, window, day, more))


def started(n: int, window: int, day: date = DAY) -> TicketStarted:
    return TicketStarted.model_validate(_at_window(n, window, day, {}))


def finished(n: int, window: int, day: date = DAY) -> TicketFinished:
    return TicketFinished.model_validate(_at_window(n, window, day, {"service_seconds": 90.0}))


def rated(n: int, window: int, day: date = DAY) -> TicketRated:
    more: dict[str, object] = {"rating": Rating.SATISFIED}
    return TicketRated.model_validate(_at_window(n, window, day, more))


def opened(window: int, clerk: str) -> WindowOpened:
    return WindowOpened(at=moment(), window=window, clerk=clerk)


def closed(window: int, clerk: str) -> WindowClosed:
    return WindowClosed(at=moment(), window=window, clerk=clerk)


def device(detail: str = "", name: str = "printer") -> DeviceChanged:
    """An event that no guard looks at."""
    return DeviceChanged(at=moment(), device=name, status=DeviceStatus.ONLINE, detail=detail)


def life(n: int, window: int | None = None) -> list[HallEvent]:
    """All events of the n-th ticket, from issue to rating: six of them."""
    day = DAY + timedelta(days=n // 900)
    at = window or 1 + n % 6
    return [
        issued(n, day),
        printed(n, day),
        called(n, at, day),
        started(n, at, day),
        finished(n, at, day),
        rated(n, at, day),
    ]


def lives() -> Iterator[list[HallEvent]]:
    """One ticket's life after the other, without end."""
    return (life(n) for n in count())
