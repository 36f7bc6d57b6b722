"""Who is next at a window."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.commands import CallNext, CallTicket, Finish, RefusalReason, Start, Transfer
from contract.names import TicketId, Tier, WindowNumber
from edge.queue.dispatch import (
    NO_LINES,
    POLICIES,
    TIER_RANK,
    Lines,
    Waiting,
    first_come,
    next_ticket,
    strict_priority,
)
from tests.support.hall import Hall, make_plan, ulid

SERVICES = ("a", "b", "c")
WINDOWS = (1, 2)

# --- in the hall --------------------------------------------------------------------------------


def order_of_calls(hall: Hall, window: int = 1) -> list[str]:
    """The numbers that this window calls until nobody waits."""
    numbers: list[str] = []
    while isinstance(hall.decide(CallNext(window=window)), tuple):
        numbers.append(hall.ticket(hall.call_next(window)).number)
        hall.do(Start(window=window))
        hall.pass_time(60)
        hall.do(Finish(window=window))
    assert hall.refuse(CallNext(window=window)).reason is RefusalReason.NOBODY_WAITING
    return numbers


def test_first_come_is_served_first_and_tiers_do_not_count() -> None:
    hall = Hall(make_plan({1: "a"}, policy=first_come))
    hall.sign_on(1)
    for tier in (Tier.NORMAL, Tier.PRIORITY, Tier.VIP_GOLD, Tier.NORMAL):
        hall.take_number("a", tier)
    assert order_of_calls(hall) == ["A001", "A002", "A003", "A004"]


def test_strict_priority_calls_the_higher_tier_first_and_first_come_within_a_tier() -> None:
    hall = Hall(make_plan({1: "a"}, policy=strict_priority))
    hall.sign_on(1)
    for tier in (Tier.NORMAL, Tier.VIP_SILVER, Tier.PRIORITY, Tier.VIP_DIAMOND, Tier.VIP_GOLD):
        hall.take_number("a", tier)
        hall.take_number("a", tier)
    assert order_of_calls(hall) == [
        *("A005", "A006"),  # the green lane
        *("A007", "A008"),  # diamond
        *("A009", "A010"),  # gold
        *("A003", "A004"),  # silver
        *("A001", "A002"),
    ]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_window_serves_what_it_prefers_before_what_it_also_takes(policy: object) -> None:
    hall = Hall(make_plan({1: "ba", 2: "ab"}, policy=policy))  # type: ignore[arg-type]
    hall.sign_on(1)
    for service in "aabb":
        hall.take_number(service)
    assert order_of_calls(hall) == ["B001", "B002", "A001", "A002"]


def test_services_that_a_window_prefers_equally_are_one_line() -> None:
    lines = NO_LINES
    for place, service in enumerate("abab", start=1):
        lines = lines.add(waiting(place, service))
    order = drained(lines, 1, {"a": 0, "b": 0})
    assert [one.service for one in order] == ["a", "b", "a", "b"]


def test_a_higher_tier_counts_more_than_what_the_window_prefers() -> None:
    hall = Hall(make_plan({1: "ab"}, policy=strict_priority))
    hall.sign_on(1)
    hall.take_number("a")
    hall.take_number("b", Tier.VIP_SILVER)
    assert order_of_calls(hall) == ["B001", "A001"]


def test_a_window_never_calls_a_service_it_does_not_take() -> None:
    hall = Hall(make_plan({1: "a", 2: "b"}))
    hall.sign_on(1, 2)
    hall.take_number("b")
    refusal = hall.refuse(CallNext(window=1))
    assert refusal.reason is RefusalReason.NOBODY_WAITING
    assert refusal.window == 1
    hall.call_next(2)


def test_a_ticket_can_be_called_out_of_turn() -> None:
    hall = Hall()
    hall.sign_on(1)
    hall.take_number()
    second = hall.take_number()
    hall.do(CallTicket(window=1, ticket=second))
    assert hall.window(1).ticket == second


def test_two_windows_that_press_next_in_one_millisecond_get_two_tickets() -> None:
    hall = Hall()
    hall.sign_on(1, 2)
    tickets = {hall.take_number(), hall.take_number()}
    assert {hall.call_next(1), hall.call_next(2)} == tickets


def test_two_windows_that_press_next_for_one_customer_get_one_refusal() -> None:
    hall = Hall()
    hall.sign_on(1, 2)
    hall.take_number()
    hall.call_next(1)
    assert hall.refuse(CallNext(window=2)).reason is RefusalReason.NOBODY_WAITING


def test_a_transferred_ticket_keeps_its_place_in_the_line_of_the_new_service() -> None:
    hall = Hall(make_plan({1: "a", 2: "b"}))
    hall.sign_on(1, 2)
    early = hall.take_number("a")
    hall.take_number("b")
    hall.take_number("b")
    assert hall.call_next(1) == early
    hall.do(Transfer(window=1, to_service="b"))
    assert order_of_calls(hall, 2) == ["A001", "B001", "B002"]


def test_a_ticket_for_one_window_waits_for_that_window_alone() -> None:
    hall = Hall(make_plan({1: "a", 2: "a", 3: "a"}))
    hall.sign_on(1, 2, 3)
    ticket = hall.take_number()
    hall.call_next(1)
    hall.do(Transfer(window=1, to_window=3))
    assert hall.refuse(CallNext(window=2)).reason is RefusalReason.NOBODY_WAITING
    assert hall.call_next(3) == ticket


# --- against brute force ------------------------------------------------------------------------


def waiting(place: int, service: str = "a", tier: Tier = Tier.NORMAL) -> Waiting:
    return Waiting((place, 0), ulid(place), service, tier, float(place))


@st.composite
def lines_and_people(
    draw: st.DrawFn,
) -> tuple[Lines, dict[TicketId, tuple[Waiting, WindowNumber | None]]]:
    """Lines as they come about by people who come and go, and who is in them in truth."""
    places = draw(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), unique=True, max_size=25)
    )
    lines, people = NO_LINES, {}
    for n, place in enumerate(places):
        window = draw(st.sampled_from((None, None, None, *WINDOWS)))
        service, tier = draw(st.sampled_from(SERVICES)), draw(st.sampled_from(Tier))
        one = Waiting(place, ulid(n), service, tier, draw(st.floats(0, 1e9)))
        lines = lines.add(one, window)
        people[one.ticket] = (one, window)
        if draw(st.integers(0, 3)) == 0:
            gone, at = people.pop(draw(st.sampled_from(sorted(people))))
            lines = lines.take(gone.ticket, gone.service, gone.tier, at)
    return lines, people


PREFERENCES = st.dictionaries(st.sampled_from(SERVICES), st.integers(0, 2))


@settings(max_examples=300)
@given(lines_and_people(), PREFERENCES, st.sampled_from(sorted(POLICIES)))
def test_asking_the_heads_of_the_lines_is_asking_everybody(
    drawn: tuple[Lines, dict[TicketId, tuple[Waiting, WindowNumber | None]]],
    preference: Mapping[str, int],
    policy_name: str,
) -> None:
    lines, people = drawn
    policy = POLICIES[policy_name]
    for window in WINDOWS:
        keys = {
            policy(one, 0 if to_window else preference[one.service], 2e9): one
            for one, to_window in people.values()
            if (to_window is None and one.service in preference) or to_window == window
        }
        expected = keys[min(keys)] if keys else None
        assert next_ticket(lines, window, preference, policy, 2e9) == expected


@settings(max_examples=200)
@given(lines_and_people())
def test_lines_hold_everybody_once_and_in_order_and_no_line_is_empty(
    drawn: tuple[Lines, dict[TicketId, tuple[Waiting, WindowNumber | None]]],
) -> None:
    lines, people = drawn
    for service, tiers in lines.by_service.items():
        assert tiers
        for tier, line in tiers.items():
            expected = [
                one
                for one, window in people.values()
                if (one.service, one.tier, window) == (service, tier, None)
            ]
            assert list(line) == sorted(expected)
            assert line
    for window, line in lines.by_window.items():
        assert line
        assert list(line) == sorted(one for one, at in people.values() if at == window)
    in_lines = [w for tiers in lines.by_service.values() for line in tiers.values() for w in line]
    in_lines += [w for line in lines.by_window.values() for w in line]
    assert sorted(w.ticket for w in in_lines) == sorted(people)
    for service in SERVICES:
        assert lines.count(service) == sum(one.service == service for one, _ in people.values())


@given(lines_and_people(), st.sampled_from(SERVICES), st.sampled_from(Tier))
def test_to_add_and_to_take_again_changes_nothing_and_neither_changes_its_input(
    drawn: tuple[Lines, object], service: str, tier: Tier
) -> None:
    lines, _ = drawn
    before = repr(lines)
    one = Waiting((20, 9), ulid(999), service, tier, 0.0)
    for window in (None, 1):
        more = lines.add(one, window)
        assert more != lines
        assert more.take(one.ticket, service, tier, window) == lines
    assert repr(lines) == before


def drained(lines: Lines, window: int, preference: Mapping[str, int]) -> list[Waiting]:
    order = []
    while one := next_ticket(lines, window, preference, strict_priority, 0.0):
        order.append(one)
        lines = lines.take(one.ticket, one.service, one.tier, None)
    return order


def test_every_tier_has_a_rank_of_its_own() -> None:
    assert sorted(TIER_RANK.values()) == list(range(len(Tier)))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@given(st.data())
def test_no_policy_prefers_the_later_place_of_a_line(policy: object, data: st.DataObject) -> None:
    places = st.tuples(st.integers(0, 99), st.integers(0, 5))
    early, late = sorted(data.draw(st.tuples(places, places).filter(lambda two: two[0] != two[1])))
    tier, rank = data.draw(st.sampled_from(Tier)), data.draw(st.integers(0, 5))
    keys = [
        policy(Waiting(place, ulid(1), "a", tier, 0.0), rank, 1e9)  # type: ignore[operator]
        for place in (early, late)
    ]
    assert keys[0] < keys[1]
