"""What a customer is told about the wait."""

from itertools import pairwise
from math import exp, factorial, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.commands import Finish, Pause, SignOff, Start, Transfer
from contract.names import ServiceId, Tier
from edge.queue.dispatch import first_come
from edge.queue.estimate import QueueLength, mean_service_seconds
from edge.queue.plan import WaitEstimate
from edge.queue.state import SERVICE_TIMES_MEMORY, ServiceTimes
from tests.support.hall import Hall, make_plan


def told(hall: Hall, service: ServiceId = "a", tier: Tier = Tier.NORMAL) -> WaitEstimate:
    return QueueLength().estimate(hall.plan, hall.state, service, tier, hall.now)


def seconds(estimate: WaitEstimate) -> tuple[float, float]:
    assert estimate.p50_seconds is not None
    assert estimate.p90_seconds is not None
    return estimate.p50_seconds, estimate.p90_seconds


def busy(windows: dict[int, str], waiting: str = "", **plan: object) -> Hall:
    """Every window serves somebody, and behind them wait these."""
    hall = Hall(make_plan(windows, **plan))  # type: ignore[arg-type]
    for window, skills in windows.items():
        hall.sign_on(window)
        hall.take_number(skills[0])
        hall.call_next(window)
        hall.do(Start(window=window))
    for service in waiting:
        hall.take_number(service)
    return hall


def erlang_quantile(p: float, k: int, rate: float) -> float:
    """Exact: the time by which the k-th event of a Poisson process has happened with chance p."""
    low, high = 0.0, 100.0 * k / rate
    for _ in range(200):
        middle = (low + high) / 2
        x = rate * middle
        done = 1 - sum(exp(-x) * x**n / factorial(n) for n in range(k))
        low, high = (middle, high) if done < p else (low, middle)
    return low


def test_without_an_open_window_the_wait_is_unknown_and_says_why() -> None:
    hall = Hall()
    hall.take_number()
    assert told(hall) == WaitEstimate(1, None, None, "unknown:no_window")


def test_who_is_in_line_already_counts_neither_themselves_nor_those_behind() -> None:
    hall = busy({1: "a"}, "aa")
    first_wait = told(hall)
    ticket = hall.press()
    ours = hall.state.tickets[ticket]
    hall.take_number()
    hall.take_number(tier=Tier.PRIORITY)
    again = QueueLength().estimate(
        hall.plan, hall.state, ours.service, ours.tier, hall.now, place=ours.place
    )
    assert (first_wait.ahead, again.ahead, told(hall).ahead) == (2, 3, 5), (
        "the green lane is before"
    )


@pytest.mark.parametrize("command", [Pause, SignOff])
def test_a_window_that_is_paused_or_left_serves_nobody(command: type[Pause | SignOff]) -> None:
    hall = Hall(make_plan({1: "a"}))
    hall.sign_on(1)
    hall.do(command(window=1))
    assert told(hall).method == "unknown:no_window"


def test_at_an_idle_window_nobody_waits() -> None:
    hall = Hall()
    hall.sign_on(1)
    assert told(hall) == WaitEstimate(0, 0.0, 0.0, "queue_length")


def test_who_is_just_before_us_goes_to_one_idle_window_and_we_to_the_other() -> None:
    hall = Hall()
    hall.sign_on(1, 2)
    hall.press()
    assert told(hall) == WaitEstimate(1, 0.0, 0.0, "queue_length")
    hall.press()
    p50, _ = seconds(told(hall))
    assert 0 < p50 < 150, "until the first of two services of 300 s ends"


@pytest.mark.parametrize("waiting", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("windows", [1, 3])
def test_with_exponential_services_the_range_is_that_of_the_exact_model(
    waiting: int, windows: int
) -> None:
    """M/M/s, all busy, Q waiting: the wait is Erlang with Q + 1 stages of rate s / mean."""
    hall = busy(dict.fromkeys(range(1, windows + 1), "a"), waiting="a" * waiting)
    p50, p90 = seconds(told(hall))
    rate = windows / 300
    assert p50 == pytest.approx(erlang_quantile(0.5, waiting + 1, rate), rel=0.02)
    assert p90 == pytest.approx(erlang_quantile(0.9, waiting + 1, rate), rel=0.02)


def test_the_first_wait_of_all_is_known_by_heart() -> None:
    p50, p90 = seconds(told(busy({1: "a"})))
    assert p50 == pytest.approx(300 * log(2), rel=0.02)
    assert p90 == pytest.approx(300 * log(10), rel=0.02)


def test_more_people_never_make_it_shorter() -> None:
    hall = busy({1: "ab", 2: "a"})
    answers = [seconds(told(hall))]
    for service in "aababbba":
        hall.take_number(service)
        answers.append(seconds(told(hall)))
    for (p50, p90), (later_p50, later_p90) in pairwise(answers):
        assert later_p50 >= p50
        assert later_p90 >= p90
    assert answers[-1][0] > answers[0][0]


def test_more_windows_never_make_it_longer() -> None:
    few = seconds(told(busy({1: "a"}, waiting="aaaa")))
    more = seconds(told(busy({1: "a", 2: "a"}, waiting="aaaa")))
    assert more[0] < few[0]
    assert more[1] < few[1]


def test_people_of_services_that_our_windows_do_not_take_do_not_count() -> None:
    hall = busy({1: "a", 2: "b"}, waiting="a")
    before = told(hall)
    hall.take_number("b")
    assert told(hall) == before


def test_people_of_other_services_count_for_the_part_that_falls_to_our_windows() -> None:
    alone = seconds(told(busy({1: "ab", 2: "b"})))[0]
    shared = seconds(told(busy({1: "ab", 2: "b"}, waiting="b")))[0]
    whole = seconds(told(busy({1: "ab", 2: "b"}, waiting="a")))[0]
    assert alone < shared < whole


def test_a_ticket_whose_paper_is_printing_is_ahead_already() -> None:
    hall = busy({1: "a"})
    hall.press()
    assert told(hall).ahead == 1


def test_a_ticket_that_waits_for_one_of_our_windows_is_ahead() -> None:
    hall = busy({1: "a", 2: "a"})
    hall.do(Transfer(window=1, to_window=2))
    assert told(hall).ahead == 1


def test_a_higher_tier_has_only_its_own_kind_ahead() -> None:
    hall = busy({1: "a"}, waiting="aaaa")
    hall.take_number("a", Tier.VIP_GOLD)
    assert told(hall, tier=Tier.NORMAL).ahead == 5
    assert told(hall, tier=Tier.VIP_SILVER).ahead == 1
    assert told(hall, tier=Tier.PRIORITY).ahead == 0
    assert seconds(told(hall, tier=Tier.PRIORITY)) < seconds(told(hall))


def test_where_tiers_do_not_count_everybody_is_ahead_of_everybody() -> None:
    hall = busy({1: "a"}, waiting="aaaa", policy=first_come)
    assert told(hall, tier=Tier.PRIORITY).ahead == 4


def test_service_times_are_learned_from_what_happened() -> None:
    hall = busy({1: "a"})
    hall.pass_time(100)
    hall.do(Finish(window=1))
    assert mean_service_seconds(hall.plan, hall.state, "a") == (4 * 300 + 100) / 5
    for _ in range(200):
        hall.take_number()
        hall.call_next()
        hall.do(Start(window=1))
        hall.pass_time(100)
        hall.do(Finish(window=1))
    assert mean_service_seconds(hall.plan, hall.state, "a") == pytest.approx(100, rel=0.1)


@given(st.lists(st.floats(0, 7200), min_size=1, max_size=99))
def test_while_few_services_were_seen_their_mean_is_the_plain_mean(times: list[float]) -> None:
    learned = ServiceTimes(0.0, 0.0)
    for time in times:
        learned = learned.seen(time)
    assert learned.mean_seconds == pytest.approx(sum(times) / len(times), abs=1e-6)
    assert learned.weight == len(times)


def test_a_hall_that_changes_is_believed_after_a_while() -> None:
    learned = ServiceTimes(600.0, SERVICE_TIMES_MEMORY)
    for _ in range(300):
        learned = learned.seen(200.0)
    assert learned.mean_seconds == pytest.approx(200, rel=0.15)
    assert learned.weight == SERVICE_TIMES_MEMORY


def test_a_service_that_left_the_configuration_does_not_stop_the_others() -> None:
    hall = busy({1: "ab"}, waiting="bb")
    left = make_plan({1: "a"})
    hall.change_plan(services=left.services, windows=left.windows)
    assert seconds(told(hall)) == seconds(told(busy({1: "a"})))
    hall.press("a")


def test_services_of_no_length_do_not_divide_by_zero() -> None:
    hall = busy({1: "a"})
    for _ in range(300):
        hall.do(Finish(window=1))
        hall.take_number()
        hall.call_next()
        hall.do(Start(window=1))
    p50, p90 = seconds(told(hall))
    assert 0 < p50 < p90 < 60


@given(
    skills=st.lists(st.sampled_from(("a", "ab", "ba", "b")), min_size=1, max_size=4),
    waiting=st.text("ab", max_size=12),
    tier=st.sampled_from(Tier),
)
def test_p90_is_never_below_p50_and_both_are_seconds_or_unknown(
    skills: list[str], waiting: str, tier: Tier
) -> None:
    hall = busy(dict(enumerate(skills, start=1)))
    for service in waiting:
        if service in hall.plan.services:
            hall.take_number(service)
    for service in hall.plan.services:
        estimate = told(hall, service, tier)
        if estimate.p50_seconds is None:
            assert estimate.p90_seconds is None
            assert estimate.method.startswith("unknown:")
        else:
            p50, p90 = seconds(estimate)
            assert 0 <= p50 <= p90 < 1e6
