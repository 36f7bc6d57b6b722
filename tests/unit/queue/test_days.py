"""Business days, and clocks that jump."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from contract.commands import (
    CallNext,
    CloseDay,
    Finish,
    IssueTicket,
    NoShow,
    OpenDay,
    Park,
    Pause,
    Recall,
    RefusalReason,
    Rejoin,
    Start,
)
from contract.events import (
    DayClosed,
    DayOpened,
    TicketCancelled,
    TicketFinished,
    TicketVoided,
    WindowClosed,
)
from contract.names import CancelReason, HallPhase, Moment, VoidReason, WindowState
from edge.queue.day import business_day, due
from tests.support.hall import MONDAY, MORNING, SHANGHAI, Hall, make_plan, ulid

TUESDAY = MONDAY + timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
BOOT_1970 = datetime(1970, 1, 1, 0, 0, 12, tzinfo=UTC)


def keep_days(hall: Hall) -> list[str]:
    """What the calendar asked for, done."""
    commands = due(hall.plan, hall.state, hall.now)
    for command in commands:
        hall.do(command)
    return [command.command for command in commands]


# --- the calendar -------------------------------------------------------------------------------


def at(text: str, zone: ZoneInfo = SHANGHAI) -> Moment:
    wall = datetime.fromisoformat(text).replace(tzinfo=zone)
    return Moment(wall=wall.astimezone(UTC), monotonic=1.0, boot="boot-1")


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2026-03-02 03:59:59", "2026-03-01"),
        ("2026-03-02 04:00:00", "2026-03-02"),
        ("2026-03-02 23:59:59", "2026-03-02"),
        ("2026-03-03 00:30:00", "2026-03-02"),
    ],
)
def test_a_business_day_begins_at_its_reset_time_in_the_halls_time_zone(
    time: str, day: str
) -> None:
    assert business_day(make_plan(), at(time)) == date.fromisoformat(day)


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2026-03-29 03:59:59", "2026-03-28"),  # the night that has no 02:30
        ("2026-03-29 04:00:00", "2026-03-29"),
        ("2026-10-25 03:59:59", "2026-10-24"),  # the night that has it twice
        ("2026-10-25 04:00:00", "2026-10-25"),
    ],
)
def test_summer_time_does_not_move_the_reset_time(time: str, day: str) -> None:
    assert business_day(make_plan(time_zone=BERLIN), at(time, BERLIN)) == date.fromisoformat(day)


@pytest.mark.parametrize("month", [3, 10])
def test_an_hour_that_is_skipped_or_comes_twice_opens_no_day_twice(month: int) -> None:
    hall = Hall(
        make_plan(time_zone=BERLIN, day_resets_at=timedelta(hours=2, minutes=30)),
        day_is_open=False,
    )
    hall.set_clock(datetime(2026, month, 24, 12, tzinfo=BERLIN))
    while hall.now.wall < datetime(2026, month, 31, 12, tzinfo=BERLIN):
        keep_days(hall)
        hall.pass_time(600)
    days = [event.business_day for event in hall.events if isinstance(event, DayOpened)]
    assert days == [date(2026, month, day) for day in range(24, 32)]


def test_the_first_day_of_a_new_hall_opens_at_once() -> None:
    hall = Hall(day_is_open=False)
    assert keep_days(hall) == ["open_day"]
    assert hall.state.business_day == MONDAY
    assert keep_days(hall) == []


def test_at_the_reset_time_the_day_ends_and_the_next_begins() -> None:
    hall = Hall()
    hall.set_clock(MORNING.replace(hour=3, minute=59) + timedelta(days=1))
    assert keep_days(hall) == []
    hall.pass_time(60)
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == TUESDAY
    assert hall.ticket(hall.press()).number == "A001"


def test_who_comes_in_the_instants_around_the_reset_does_not_hold_the_old_day() -> None:
    hall = Hall()
    hall.set_clock(MORNING.replace(hour=4, minute=0, second=5) + timedelta(days=1))
    hall.take_number()  # before anybody has looked at the calendar
    hall.pass_time(10)
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == TUESDAY


def test_a_clock_that_is_decades_ahead_is_not_believed() -> None:
    hall = Hall()
    hall.set_clock(MORNING.replace(year=2099))
    assert keep_days(hall) == []
    assert hall.state.business_day == MONDAY
    hall.set_clock(MORNING + timedelta(days=1))
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == TUESDAY


def test_the_thirty_who_still_wait_when_the_day_ends_are_cancelled_by_name() -> None:
    hall = Hall()
    hall.pass_time(8 * 3600)
    for _ in range(30):
        hall.take_number()
    hall.pass_time(14 * 3600)
    keep_days(hall)
    cancelled = [event for event in hall.events if isinstance(event, TicketCancelled)]
    assert len(cancelled) == 30
    assert {event.reason for event in cancelled} == {CancelReason.DAY_CLOSED}
    assert not hall.state.tickets


def test_a_day_that_a_manager_closed_stays_closed_until_the_next() -> None:
    hall = Hall()
    hall.pass_time(8 * 3600)
    hall.do(CloseDay())
    assert keep_days(hall) == []
    hall.pass_time(11 * 3600)
    assert keep_days(hall) == ["open_day"]
    assert hall.state.business_day == TUESDAY


# --- clocks that jump ---------------------------------------------------------------------------


def test_a_clock_that_goes_back_changes_nothing() -> None:
    hall = Hall()
    hall.press()
    for days in (1, 30, 365):
        hall.set_clock(MORNING - timedelta(days=days))
        assert keep_days(hall) == []
    assert hall.ticket(hall.press()).number == "A002"


def test_power_is_cut_and_the_boot_in_1970_goes_on_with_the_day() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.reboot("boot-2", BOOT_1970, synced=False)
    assert keep_days(hall) == []
    assert hall.call_next() == ticket
    assert hall.ticket(hall.take_number()).number == "A002"


def test_a_new_hall_that_boots_in_1970_works_and_goes_over_to_today() -> None:
    hall = Hall(day_is_open=False)
    hall.reboot("boot-1", BOOT_1970, synced=False)
    assert keep_days(hall) == ["open_day"]
    hall.set_clock(MORNING)
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == MONDAY


def test_a_closed_hall_that_boots_in_1970_without_a_network_opens_the_day_after_the_last() -> None:
    hall = Hall()
    hall.do(CloseDay())
    hall.reboot("boot-2", BOOT_1970, synced=False)
    assert keep_days(hall) == ["open_day"]
    assert hall.state.business_day == TUESDAY
    hall.press()
    assert keep_days(hall) == []


def test_the_clock_is_set_right_and_nobody_who_came_today_is_thrown_out() -> None:
    """Monday's day was left open, Tuesday boots in 1970, and the network comes at ten."""
    hall = Hall()
    hall.take_number()  # of Monday, who went home
    hall.reboot("boot-2", BOOT_1970, synced=False)
    hall.sign_on(1)
    today = hall.take_number()
    hall.pass_time(3600)
    hall.set_clock(MORNING + timedelta(days=1, hours=1))
    assert keep_days(hall) == []
    hall.reboot("boot-3")  # and the daemon's restarts change nothing of that
    assert hall.now.synced
    assert today in hall.state.tickets
    assert keep_days(hall) == []


def test_the_day_goes_over_when_the_last_of_them_has_left() -> None:
    hall = Hall()
    hall.reboot("boot-2", BOOT_1970, synced=False)
    hall.sign_on(1)
    hall.take_number()
    hall.set_clock(MORNING + timedelta(days=1))
    hall.call_next()
    hall.do(Start(window=1))
    assert keep_days(hall) == []
    hall.do(Finish(window=1))
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == TUESDAY


def test_a_clock_that_steps_by_days_while_people_wait_waits_for_them() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.pass_time(600)
    hall.set_clock(hall.now.wall + timedelta(days=3))
    assert keep_days(hall) == []
    assert hall.call_next() == ticket


def test_a_clock_that_was_set_once_does_not_keep_yesterdays_people_for_ever() -> None:
    hall = Hall()
    hall.set_clock(MORNING + timedelta(hours=2))
    hall.take_number()
    hall.pass_time(20 * 3600)
    assert keep_days(hall) == ["close_day", "open_day"]


def test_a_no_show_of_today_does_not_hold_the_day() -> None:
    hall = Hall()
    hall.sign_on(1)
    hall.take_number()
    hall.call_next()
    hall.do(Recall(window=1))
    hall.pass_time(60)
    hall.do(NoShow(window=1))
    hall.set_clock(MORNING + timedelta(days=3))
    assert keep_days(hall) == ["close_day", "open_day"]


# --- opening and closing ------------------------------------------------------------------------


def test_a_day_never_comes_twice_nor_runs_backwards() -> None:
    hall = Hall()
    hall.do(CloseDay())
    for past in (MONDAY, MONDAY - timedelta(days=1)):
        refusal = hall.refuse(OpenDay(business_day=past))
        assert refusal.reason is RefusalReason.DAY_IN_THE_PAST
        assert refusal.detail == "the last day was 2026-03-02"
    hall.do(OpenDay(business_day=TUESDAY))


def test_an_open_day_is_not_opened_and_a_closed_one_not_closed() -> None:
    hall = Hall()
    refusal = hall.refuse(OpenDay(business_day=TUESDAY))
    assert (refusal.reason, refusal.detail) == (
        RefusalReason.DAY_ALREADY_OPEN,
        "2026-03-02 is open",
    )
    hall.do(CloseDay())
    assert hall.refuse(CloseDay()).reason is RefusalReason.DAY_NOT_OPEN


def test_every_ticket_ends_and_every_window_is_left_before_the_day_closes() -> None:
    plan = make_plan(dict.fromkeys(range(1, 6), "a"))
    hall = Hall(plan)
    hall.sign_on(1, 2, 3, 4)  # calling, serving, parked and idle, paused
    for _ in range(4):
        hall.take_number()
    called = hall.call_next(1)
    serving = hall.call_next(2)
    hall.do(Start(window=2))
    parked = hall.call_next(3)
    hall.do(Start(window=3))
    hall.do(Park(window=3))
    hall.do(Pause(window=4))
    waiting = hall.take_number()
    printing = hall.press()
    hall.pass_time(9 * 3600)
    *events, closed = hall.do(CloseDay())
    assert isinstance(closed, DayClosed)
    ends = {
        event.ticket: event
        for event in events
        if isinstance(event, TicketCancelled | TicketFinished | TicketVoided)
    }
    assert {called, parked, waiting} < ends.keys()
    for ticket in (called, parked, waiting):
        end = ends[ticket]
        assert isinstance(end, TicketCancelled)
        assert end.reason is CancelReason.DAY_CLOSED
    voided, finished = ends[printing], ends[serving]
    assert isinstance(voided, TicketVoided)
    assert voided.reason is VoidReason.EXPIRED
    assert isinstance(finished, TicketFinished)
    left = [event.window for event in events if isinstance(event, WindowClosed)]
    assert left == [1, 2, 3, 4]
    assert hall.state.phase is HallPhase.CLOSED
    assert not hall.state.tickets
    assert hall.window(1).state is WindowState.CLOSED


def test_a_service_that_the_days_end_cuts_off_teaches_nothing() -> None:
    hall = Hall()
    hall.sign_on(1)
    hall.take_number()
    hall.call_next()
    hall.do(Start(window=1))
    hall.pass_time(19 * 3600)
    events = hall.do(CloseDay())
    (finished,) = [event for event in events if isinstance(event, TicketFinished)]
    assert finished.service_seconds is None
    assert hall.state.service_times == {}


def test_what_was_learned_is_kept_over_the_night() -> None:
    hall = Hall()
    hall.sign_on(1)
    hall.take_number()
    hall.call_next()
    hall.do(Start(window=1))
    hall.pass_time(120)
    hall.do(Finish(window=1))
    hall.do(CloseDay())
    hall.do(OpenDay(business_day=TUESDAY))
    assert hall.state.service_times["a"].mean_seconds == 120


def test_a_ticket_of_yesterday_does_not_come_back() -> None:
    hall = Hall()
    hall.sign_on(1)
    ticket = hall.take_number()
    hall.call_next()
    hall.do(Recall(window=1))
    hall.pass_time(60)
    hall.do(NoShow(window=1))
    hall.do(CloseDay())
    hall.do(OpenDay(business_day=TUESDAY))
    refusal = hall.refuse(Rejoin(ticket=ticket))
    assert (refusal.reason, refusal.ticket) == (RefusalReason.UNKNOWN_TICKET, ticket)


def test_a_closed_hall_calls_nobody_and_a_clerk_may_come_early() -> None:
    hall = Hall(day_is_open=False)
    hall.sign_on(1)
    assert hall.refuse(CallNext(window=1)).reason is RefusalReason.DAY_NOT_OPEN
    hall.do(OpenDay(business_day=MONDAY))
    hall.do(IssueTicket(ticket=ulid(1), service="a"))
    assert hall.window().clerk == "clerk-1"
