"""Which numbers are spent, and which comes next."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contract.commands import CloseDay, IssueTicket, OpenDay, RefusalReason
from edge.queue.numbers import both, next_unspent, parsed, spent_by, with_number, with_run
from edge.queue.plan import Service
from edge.queue.state import DAYS_REMEMBERED, HallState
from tests.support.hall import MONDAY, Hall, make_plan, ulid

ORDINALS = st.lists(st.integers(1, 30), max_size=40)


def runs_of(ordinals: list[int]) -> tuple[tuple[int, int], ...]:
    runs: tuple[tuple[int, int], ...] = ()
    for ordinal in ordinals:
        runs = with_run(runs, ordinal, ordinal)
    return runs


def ordinals_in(runs: tuple[tuple[int, int], ...]) -> set[int]:
    return {ordinal for first, last in runs for ordinal in range(first, last + 1)}


# --- runs ---------------------------------------------------------------------------------------


@given(ORDINALS)
def test_runs_are_the_set_of_their_ordinals_in_the_fewest_runs(ordinals: list[int]) -> None:
    runs = runs_of(ordinals)
    assert ordinals_in(runs) == set(ordinals)
    assert all(first <= last for first, last in runs)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(runs))


@given(ORDINALS, st.integers(1, 30), st.integers(0, 10))
def test_a_run_is_added_as_all_of_its_ordinals_are(
    ordinals: list[int], first: int, more: int
) -> None:
    runs = with_run(runs_of(ordinals), first, first + more)
    assert runs == runs_of([*ordinals, *range(first, first + more + 1)])


@given(ORDINALS, st.integers(1, 30), st.integers(0, 10))
def test_the_next_number_is_in_its_range_and_not_spent_and_there_is_one_while_there_can_be(
    ordinals: list[int], first: int, more: int
) -> None:
    last = first + more
    following = next_unspent(runs_of(ordinals), first, last)
    left = set(range(first, last + 1)) - set(ordinals)
    if following is None:
        assert not left
        return
    assert following in left
    above = {ordinal for ordinal in ordinals if first <= ordinal <= last}
    if last not in above:
        assert following == max(above, default=first - 1) + 1, "numbers go up"
    else:
        assert following == min(left)


@given(ORDINALS, ORDINALS)
def test_what_either_knows_is_spent(one: list[int], other: list[int]) -> None:
    def spent(ordinals: list[int]) -> dict[str, tuple[tuple[int, int], ...]]:
        return dict(spent_by(f"A{ordinal:03}" for ordinal in ordinals))

    assert both(spent(one), spent(other)) == spent([*one, *other])


def test_a_number_is_its_prefix_and_ordinal_however_many_digits_it_has() -> None:
    assert parsed("AB012") == ("AB", 12)
    assert with_number(with_number({}, "A012"), "A12") == {"A": ((12, 12),)}


# --- a configuration that is changed in the middle of a day --------------------------------------


def with_services(hall: Hall, *services: Service) -> None:
    hall.change_plan(services={service.id: service for service in services})


def number(hall: Hall, service: str = "a") -> str:
    return hall.ticket(hall.press(service)).number


def test_a_service_that_is_renamed_goes_on_behind_the_numbers_of_the_old() -> None:
    hall = Hall()
    assert [number(hall), number(hall)] == ["A001", "A002"]
    with_services(hall, Service("payments", "A"))
    assert [number(hall, "payments"), number(hall, "payments")] == ["A003", "A004"]


def test_a_range_that_is_moved_is_begun_at_its_beginning_and_a_prefix_too() -> None:
    hall = Hall()
    number(hall)
    with_services(hall, Service("a", "A", first_number=500))
    assert number(hall) == "A500"
    with_services(hall, Service("a", "C"))
    assert number(hall) == "C001"
    with_services(hall, Service("a", "A", last_number=99))
    assert number(hall) == "A02"


def test_a_range_that_is_cut_short_issues_nothing_outside_of_it() -> None:
    hall = Hall()
    for _ in range(3):
        number(hall)
    with_services(hall, Service("a", "A", last_number=3))
    refusal = hall.refuse(IssueTicket(ticket=ulid(99), service="a"))
    assert (refusal.reason, refusal.detail) == (RefusalReason.NUMBERS_EXHAUSTED, "A ends at 3")


def test_two_services_that_swap_their_ranges_of_one_prefix_skip_what_is_spent() -> None:
    hall = Hall(make_plan({1: "ab"}))
    with_services(hall, Service("a", "A", 1, 4), Service("b", "A", 5, 8))
    assert [number(hall, "a"), number(hall, "b"), number(hall, "b")] == ["A1", "A5", "A6"]
    with_services(hall, Service("a", "A", 5, 8), Service("b", "A", 1, 4))
    assert [number(hall, "a"), number(hall, "a")] == ["A7", "A8"]
    assert [number(hall, "b") for _ in range(3)] == ["A2", "A3", "A4"]
    refusal = hall.refuse(IssueTicket(ticket=ulid(99), service="a"))
    assert refusal.reason is RefusalReason.NUMBERS_EXHAUSTED


def test_what_was_left_out_is_issued_when_the_range_has_come_to_its_end() -> None:
    hall = Hall()
    with_services(hall, Service("a", "A", 3, 5))
    assert number(hall) == "A3"
    with_services(hall, Service("a", "A", 1, 5))
    assert [number(hall) for _ in range(4)] == ["A4", "A5", "A1", "A2"]


# --- days that come again -------------------------------------------------------------------------


def test_of_so_many_days_the_numbers_are_known_and_an_older_one_is_not_opened() -> None:
    hall = Hall()
    number(hall)
    for _ in range(DAYS_REMEMBERED):
        hall.pass_time(86_400)
        hall.do(CloseDay())
        today = MONDAY + timedelta(days=len(hall.state.spent_on) + 1)
        hall.do(OpenDay(business_day=today))
        number(hall)
    assert len(hall.state.spent_on) == DAYS_REMEMBERED
    assert hall.state.numbers_are_known(MONDAY)
    hall.pass_time(86_400)
    hall.do(CloseDay())
    hall.do(OpenDay(business_day=today + timedelta(days=1)))
    assert len(hall.state.spent_on) == DAYS_REMEMBERED
    assert not hall.state.numbers_are_known(MONDAY)
    assert hall.state.numbers_are_known(MONDAY + timedelta(days=1))
    hall.do(CloseDay())
    hall.pass_time(-86_400 * (DAYS_REMEMBERED + 1))
    refusal = hall.refuse(OpenDay(business_day=MONDAY))
    assert refusal.reason is RefusalReason.DAY_IN_THE_PAST
    assert refusal.detail == "its numbers are forgotten"


def test_days_without_a_number_take_no_room() -> None:
    hall = Hall()
    for day in range(1, 5):
        hall.pass_time(86_400)
        hall.do(CloseDay())
        hall.do(OpenDay(business_day=MONDAY + timedelta(days=day)))
    assert hall.state.spent_on == {}


def test_a_day_that_is_not_remembered_is_known_while_nothing_was_forgotten() -> None:
    state = HallState().with_spent(MONDAY, {"A": ((1, 3),)})
    assert state.spent_on == {MONDAY: {"A": ((1, 3),)}}
    assert state.numbers_are_known(MONDAY - timedelta(days=1000))
