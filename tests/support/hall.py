"""A hall without I/O: it decides, applies, and remembers what happened."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from contract.commands import (
    CallNext,
    Command,
    ConfirmPrint,
    IssueTicket,
    OpenDay,
    Refusal,
    SignOn,
)
from contract.events import HallEvent
from contract.names import Moment, ServiceId, TicketId, TicketState, Tier, WindowNumber
from edge.queue.apply import apply
from edge.queue.decide import Events, decide
from edge.queue.dispatch import Policy, strict_priority
from edge.queue.estimate import QueueLength
from edge.queue.plan import HallPlan, Rules, Service, Skills
from edge.queue.state import HallState, Ticket, Window

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY = date(2026, 3, 2)
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=SHANGHAI)


def ulid(n: int) -> TicketId:
    """A ticket id of our own; the smaller is the older."""
    return f"{n:026d}"


def make_plan(
    windows: Mapping[WindowNumber, str] | None = None,
    *,
    policy: Policy = strict_priority,
    rules: Rules | None = None,
    time_zone: ZoneInfo = SHANGHAI,
    day_resets_at: timedelta = timedelta(hours=4),
    last_number: int = 999,
) -> HallPlan:
    """A plan from ``{window: "abc"}``: services by their letters, the preferred first."""
    windows = {1: "a", 2: "a"} if windows is None else windows
    letters = sorted({letter for skills in windows.values() for letter in skills})
    services = [
        Service(letter, letter.upper(), last_number=last_number, expected_seconds=300.0)
        for letter in letters
    ]
    return HallPlan(
        services={service.id: service for service in services},
        windows={
            number: Skills({letter: rank for rank, letter in enumerate(skills)})
            for number, skills in windows.items()
        },
        time_zone=time_zone,
        estimator=QueueLength(),
        day_resets_at=day_resets_at,
        rules=rules or Rules(),
        policy=policy,
    )


class Hall:
    """Monday morning: the day is open, nobody is here, every window is closed."""

    def __init__(self, plan: HallPlan | None = None, *, day_is_open: bool = True) -> None:
        self.plan = plan or make_plan()
        self.state = HallState()
        self.events: list[HallEvent] = []
        self.now = Moment(wall=MORNING.astimezone(UTC), monotonic=100.0, boot="boot-1")
        self._issued = 0
        if day_is_open:
            self.do(OpenDay(business_day=MONDAY))

    # --- commands -------------------------------------------------------------------------------

    def decide(self, command: Command) -> Events | Refusal:
        return decide(self.plan, self.state, command, self.now)

    def do(self, command: Command) -> Events:
        """A command that must be accepted."""
        events = self.decide(command)
        assert not isinstance(events, Refusal), str(events)
        for event in events:
            self.state = apply(self.state, event)
        self.events += events
        return events

    def refuse(self, command: Command) -> Refusal:
        """A command that must be refused."""
        refusal = self.decide(command)
        assert isinstance(refusal, Refusal), f"{command!r} led to {refusal}"
        return refusal

    def take_number(self, service: ServiceId = "a", tier: Tier = Tier.NORMAL) -> TicketId:
        """A press at the dispenser, and paper."""
        ticket = self.press(service, tier)
        self.do(ConfirmPrint(ticket=ticket))
        return ticket

    def press(self, service: ServiceId = "a", tier: Tier = Tier.NORMAL) -> TicketId:
        """A press at the dispenser; the paper is still to come."""
        self._issued += 1
        ticket = ulid(self._issued)
        self.do(IssueTicket(ticket=ticket, service=service, tier=tier))
        return ticket

    def sign_on(self, *windows: WindowNumber) -> None:
        for window in windows:
            self.do(SignOn(window=window, clerk=f"clerk-{window}"))

    def call_next(self, window: WindowNumber = 1) -> TicketId:
        """The ticket that the window called."""
        self.do(CallNext(window=window))
        ticket = self.window(window).ticket
        assert ticket is not None, "nobody was called"
        return ticket

    # --- what is seen ---------------------------------------------------------------------------

    def window(self, number: WindowNumber = 1) -> Window:
        return self.state.window(number)

    def ticket(self, ticket: TicketId) -> Ticket:
        return self.state.tickets[ticket]

    def state_of(self, ticket: TicketId) -> TicketState:
        return self.ticket(ticket).state

    def types(self, events: Events) -> list[str]:
        return [type(event).__name__ for event in events]

    # --- time -----------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now = self.now.model_copy(
            update={
                "wall": self.now.wall + timedelta(seconds=seconds),
                "monotonic": self.now.monotonic + seconds,
            }
        )

    def set_clock(self, wall: datetime, *, synced: bool = True) -> None:
        """The wall clock jumps; nothing else has passed."""
        self.now = self.now.model_copy(update={"wall": wall.astimezone(UTC), "synced": synced})

    def reboot(self, boot: str, wall: datetime | None = None, *, synced: bool = True) -> None:
        """A new boot: the monotonic clock begins again, the wall clock says what it says."""
        self.now = Moment(
            wall=(wall or self.now.wall).astimezone(UTC), monotonic=5.0, boot=boot, synced=synced
        )

    def change_plan(self, **changes: object) -> None:
        self.plan = replace(self.plan, **changes)  # type: ignore[arg-type]
