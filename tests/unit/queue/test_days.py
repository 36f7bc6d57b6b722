"""Business days, and clocks that jump."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.commands import (
    CallNext,
    CloseDay,
    FailPrint,
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
from edge.queue.day import SETTLED_SECONDS, business_day, due, seconds_to_reset
from edge.queue.state import DAYS_REMEMBERED, HallState
from tests.support.hall import MONDAY, MORNING, SHANGHAI, Hall, make_plan, ulid

TUESDAY = MONDAY + timedelta(days=1)
DAY_SECONDS = 86_400
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


@pytest.mark.parametrize("zone", [SHANGHAI, BERLIN])
@given(second=st.integers(0, 366 * DAY_SECONDS))
def test_the_seconds_to_the_reset_end_where_the_next_day_begins(
    zone: ZoneInfo, second: int
) -> None:
    plan = make_plan(time_zone=zone)
    wall = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    now = Moment(wall=wall, monotonic=1.0, boot="boot-1")

    def day_in(seconds: float) -> date:
        later = now.wall + timedelta(seconds=seconds)
        return business_day(plan, now.model_copy(update={"wall": later}))

    seconds = seconds_to_reset(plan, now)
    assert 0 < seconds <= 25 * 3600
    assert day_in(seconds) == day_in(0) + timedelta(days=1)
    assert day_in(seconds - 0.001) == day_in(0)


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


def test_a_clock_that_is_decades_ahead_and_that_nobody_has_set_is_not_believed() -> None:
    hall = Hall()
    hall.set_clock(MORNING.replace(year=2099), synced=False)
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


# --- clocks that are believed, and wrong ----------------------------------------------------------


def a_month_ahead(hall: Hall) -> date:
    """The clock was a month ahead this morning, and believed; three took a number meanwhile."""
    hall.press()
    hall.do(FailPrint(ticket=ulid(1), reason=VoidReason.PAPER_OUT))
    hall.set_clock(hall.now.wall + timedelta(days=30))
    assert keep_days(hall) == ["close_day", "open_day"]
    for _ in range(3):
        hall.do(FailPrint(ticket=hall.press(), reason=VoidReason.PAPER_OUT))
    hall.pass_time(3600)
    assert hall.state.business_day == MONDAY + timedelta(days=30)
    return MONDAY + timedelta(days=30)


def test_a_clock_that_was_ahead_is_set_right_and_the_right_day_is_opened_by_itself() -> None:
    hall = Hall()
    a_month_ahead(hall)
    hall.set_clock(hall.now.wall - timedelta(days=30))
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == MONDAY
    assert hall.ticket(hall.press()).number == "A002", "A001 was issued before"
    assert keep_days(hall) == []


def test_a_day_that_was_open_too_early_goes_on_behind_its_numbers_when_it_really_comes() -> None:
    hall = Hall()
    wrong = a_month_ahead(hall)
    hall.set_clock(hall.now.wall - timedelta(days=30))
    for day in range(31):
        keep_days(hall)
        assert hall.state.business_day == MONDAY + timedelta(days=day)
        hall.pass_time(DAY_SECONDS if day < 30 else 0)
    assert hall.state.business_day == wrong
    assert hall.ticket(hall.press()).number == "A004"


@pytest.mark.parametrize("synced", [True, False])
def test_a_hall_that_was_closed_on_a_wrong_day_opens_when_the_clock_is_right(synced: bool) -> None:
    hall = Hall()
    a_month_ahead(hall)
    hall.do(CloseDay())
    hall.set_clock(hall.now.wall - timedelta(days=29), synced=synced)
    assert keep_days(hall) == ["open_day"]
    wrong = MONDAY + timedelta(days=31)
    assert hall.state.business_day == (TUESDAY if synced else wrong)


def test_who_came_today_by_the_clock_that_is_right_now_is_not_thrown_out() -> None:
    hall = Hall()
    hall.sign_on(1)
    a_month_ahead(hall)
    hall.sign_on(1)
    early = hall.take_number()
    hall.pass_time(1800)
    hall.set_clock(hall.now.wall - timedelta(days=30))
    assert keep_days(hall) == []
    late = hall.take_number()  # and whoever comes meanwhile has the same right
    hall.pass_time(60)
    assert hall.call_next() == early
    hall.do(Start(window=1))
    hall.do(Finish(window=1))
    assert keep_days(hall) == []
    assert hall.call_next() == late
    hall.do(Start(window=1))
    hall.do(Finish(window=1))
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == MONDAY


def test_whoever_they_forgot_does_not_hold_the_wrong_day_over_the_night() -> None:
    hall = Hall()
    a_month_ahead(hall)
    hall.take_number()
    hall.set_clock(hall.now.wall - timedelta(days=30))
    assert keep_days(hall) == []
    hall.pass_time(20 * 3600)
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == TUESDAY


@pytest.mark.parametrize("parked", [False, True])
def test_after_a_boot_a_wrong_day_is_held_by_who_waits_and_not_by_what_was_left_parked(
    parked: bool,
) -> None:
    hall = Hall()
    a_month_ahead(hall)
    hall.sign_on(1)
    hall.take_number()
    if parked:
        hall.call_next()
        hall.do(Start(window=1))
        hall.do(Park(window=1))
    hall.reboot("boot-2", hall.now.wall - timedelta(days=30))
    hall.pass_time(SETTLED_SECONDS)
    assert keep_days(hall) == (["close_day", "open_day"] if parked else [])


def test_a_boot_in_the_past_is_given_time_to_set_its_clock() -> None:
    hall = Hall()
    hall.reboot("boot-2", MORNING - timedelta(days=90))  # and it claims to know
    assert keep_days(hall) == []
    hall.pass_time(SETTLED_SECONDS - 10)
    assert keep_days(hall) == []
    hall.pass_time(10)
    assert keep_days(hall) == ["close_day", "open_day"]


def test_a_clock_that_nobody_has_set_takes_no_day_back() -> None:
    hall = Hall()
    hall.set_clock(MORNING - timedelta(days=3), synced=False)
    hall.pass_time(SETTLED_SECONDS)
    assert keep_days(hall) == []


@pytest.mark.parametrize(("minutes", "goes_back"), [(119, False), (121, True)])
def test_a_clock_that_is_corrected_by_minutes_takes_no_day_back(
    minutes: int, goes_back: bool
) -> None:
    hall = Hall()
    hall.set_clock(at("2026-03-03 04:00:00").wall)
    hall.pass_time(SETTLED_SECONDS)
    keep_days(hall)
    assert hall.state.business_day == TUESDAY
    hall.set_clock(at("2026-03-03 04:00:00").wall - timedelta(minutes=minutes))
    assert (keep_days(hall) != []) is goes_back


def test_a_clock_that_is_decades_ahead_and_believed_costs_nothing_once_it_is_right() -> None:
    hall = Hall()
    hall.press()
    hall.do(FailPrint(ticket=ulid(1), reason=VoidReason.PAPER_OUT))
    hall.set_clock(MORNING.replace(year=2099))
    keep_days(hall)
    hall.pass_time(3600)
    hall.set_clock(MORNING + timedelta(hours=1))
    assert keep_days(hall) == ["close_day", "open_day"]
    assert hall.state.business_day == MONDAY
    assert hall.ticket(hall.press()).number == "A002"


def test_a_hall_that_slept_for_years_opens_today() -> None:
    hall = Hall()
    hall.do(CloseDay())
    hall.set_clock(MORNING.replace(year=2030))
    assert keep_days(hall) == ["open_day"]
    assert hall.state.business_day == date(2030, 3, 2)


def test_a_clock_that_says_a_forgotten_day_is_as_good_as_none() -> None:
    hall = Hall()
    hall.state = HallState()
    for n in range(DAYS_REMEMBERED):
        hall.state = hall.state.with_spent(MONDAY - timedelta(days=n), {"A": ((1, 1),)})
    hall.do(OpenDay(business_day=MONDAY))
    hall.set_clock(MORNING - timedelta(days=DAYS_REMEMBERED))
    hall.pass_time(SETTLED_SECONDS)
    assert keep_days(hall) == []
    hall.do(CloseDay())
    assert keep_days(hall) == ["open_day"]
    assert hall.state.business_day == TUESDAY


# --- opening and closing ------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 2, 30, 365])
def test_a_day_that_is_not_todays_is_not_opened(days: int) -> None:
    hall = Hall()
    hall.do(CloseDay())
    for day, reason in (
        (MONDAY - timedelta(days=days), RefusalReason.DAY_IN_THE_PAST),
        (MONDAY + timedelta(days=days), RefusalReason.DAY_TOO_FAR_AHEAD),
    ):
        refusal = hall.refuse(OpenDay(business_day=day))
        assert (refusal.reason, refusal.detail) == (reason, "today is 2026-03-02")


def test_where_the_date_is_not_known_a_day_does_not_run_backwards() -> None:
    hall = Hall()
    hall.do(CloseDay())
    hall.set_clock(BOOT_1970, synced=False)
    for past in (MONDAY, MONDAY - timedelta(days=1)):
        refusal = hall.refuse(OpenDay(business_day=past))
        assert refusal.reason is RefusalReason.DAY_IN_THE_PAST
        assert refusal.detail == "the last day was 2026-03-02"
    refusal = hall.refuse(OpenDay(business_day=MONDAY + timedelta(days=367)))
    assert refusal.reason is RefusalReason.DAY_TOO_FAR_AHEAD
    assert refusal.detail == "the last day was 2026-03-02"
    hall.do(OpenDay(business_day=TUESDAY))


def test_a_day_that_was_closed_by_mistake_is_opened_again_and_its_numbers_go_on() -> None:
    hall = Hall()
    hall.press()
    hall.do(CloseDay())
    hall.do(OpenDay(business_day=MONDAY))
    assert hall.ticket(hall.press()).number == "A002"


@pytest.mark.parametrize(
    ("time", "day", "opens"),
    [
        ("2026-03-03 01:59:00", TUESDAY, False),
        ("2026-03-03 02:01:00", TUESDAY, True),
        ("2026-03-03 05:59:00", MONDAY, True),
        ("2026-03-03 06:01:00", MONDAY, False),
    ],
)
def test_a_day_is_opened_two_hours_before_its_time_or_after_it_and_no_more(
    time: str, day: date, opens: bool
) -> None:
    hall = Hall()
    hall.do(CloseDay())
    hall.set_clock(at(time).wall)
    assert isinstance(hall.decide(OpenDay(business_day=day)), tuple) is opens


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
    hall.pass_time(DAY_SECONDS)
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
    hall.pass_time(DAY_SECONDS)
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
