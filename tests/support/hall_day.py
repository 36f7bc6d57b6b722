"""The events of a hall's day, as its journal would have them: for tests of what reads events."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random

from contract import events as ev
from contract.envelope import to_json
from contract.names import (
    CancelReason,
    DeviceStatus,
    Language,
    Moment,
    Rating,
    Tier,
    VoidReason,
)

EPOCH = "01JAAAAAAAAAAAAAAAAAAAAAAA"
OTHER_EPOCH = "01JBBBBBBBBBBBBBBBBBBBBBBB"
OPENING = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ticket_id(number: int, hall: int = 0) -> str:
    """A ULID made of two numbers."""
    digits = ""
    number += hall << 40
    for _ in range(20):
        number, digit = divmod(number, 32)
        digits = _BASE32[digit] + digits
    return f"01JCCC{digits}"


class HallDay:
    """Makes events one after another; a ticket's life is a chain of them."""

    def __init__(self, seed: int, *, hall: int = 0, day: date = date(2026, 3, 2)) -> None:
        self._random = Random(seed)
        self._hall = hall
        self._day = day
        self._seconds = 0.0
        self._tickets = 0

    def _at(self) -> Moment:
        self._seconds += self._random.random() * 240
        return Moment(
            wall=OPENING + timedelta(seconds=self._seconds), monotonic=self._seconds, boot="boot"
        )

    def open(self, windows: int = 3) -> Iterator[ev.HallEvent]:
        yield ev.ControllerStarted(at=self._at(), version="1")
        yield ev.DayOpened(at=self._at(), business_day=self._day)
        yield ev.DeviceChanged(at=self._at(), device="printer", status=DeviceStatus.ONLINE)
        for window in range(1, windows + 1):
            yield ev.WindowOpened(at=self._at(), window=window, clerk=f"C{window}")

    def close(self) -> Iterator[ev.HallEvent]:
        yield ev.DayClosed(at=self._at(), business_day=self._day)

    def ticket(self, windows: int = 3) -> Iterator[ev.HallEvent]:
        """One customer, from the ticket to whatever end."""
        random = self._random
        self._tickets += 1
        service = random.choice(["payment", "enquiry"])
        head = {
            "ticket": ticket_id(self._tickets, self._hall),
            "number": f"{service[0].upper()}{self._tickets:03}",
            "business_day": self._day,
            "service": service,
            "tier": random.choice(list(Tier)),
        }
        issued = self._at()
        yield ev.TicketIssued(
            at=issued, **head, place=ev.Place(anchor=self._tickets), ordinal=self._tickets,
            language=Language.ZH,
        )  # fmt: skip
        fate = random.random()
        if fate < 0.05:
            yield ev.TicketVoided(at=self._at(), **head, reason=VoidReason.PAPER_OUT)
            return
        yield ev.TicketPrinted(at=self._at(), **head)
        if fate < 0.15:
            return  # still waits
        if fate < 0.2:
            yield ev.TicketCancelled(at=self._at(), **head, reason=CancelReason.CUSTOMER)
            return
        window = random.randint(1, windows)
        there = {**head, "window": window, "clerk": f"C{window}"}
        called = self._at()
        yield ev.TicketCalled(
            at=called, **there, first_call=True, wait_seconds=called.seconds_since(issued)
        )
        if fate < 0.4:
            yield ev.TicketRecalled(at=self._at(), **there, calls=2)
            yield ev.TicketNoShow(at=self._at(), **there)
            if fate < 0.3:
                return
            yield ev.TicketRejoined(at=self._at(), **head, place=ev.Place(anchor=self._tickets))
            yield ev.TicketCalled(at=self._at(), **there, first_call=False, wait_seconds=None)
        started = self._at()
        yield ev.TicketStarted(at=started, **there)
        finished = self._at()
        yield ev.TicketFinished(
            at=finished, **there, service_seconds=finished.seconds_since(started)
        )
        if fate < 0.9:
            yield ev.TicketRated(at=self._at(), **there, rating=random.choice(list(Rating)))
        else:
            yield ev.TicketUnrated(at=self._at(), **there)

    def whole(self, tickets: int) -> list[ev.HallEvent]:
        """A day with so many customers, one after the other."""
        events = list(self.open())
        for _ in range(tickets):
            events += self.ticket()
        return events


def envelopes(
    events: list[ev.HallEvent], hall: str, *, epoch: str = EPOCH, first_seq: int = 1
) -> list[str]:
    """As they are on the wire."""
    return [
        to_json(event, hall=hall, epoch=epoch, seq=seq)
        for seq, event in enumerate(events, start=first_seq)
    ]


def backlog(texts: list[str]) -> bytes:
    """A batch on the wire."""
    return f"[{','.join(texts)}]".encode()
