"""What people are like: chance that can be repeated, and a believable day."""

from datetime import time
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from simulator import layout
from simulator.habits import (
    DOORS_CLOSE_AT,
    DOORS_OPEN_AT,
    customers_per_hour,
    dice_of,
    load_at,
    service_seconds,
)
from simulator.perception import Showing, Sight, read_screen


def test_the_same_seed_makes_the_same_chance() -> None:
    assert [dice_of(7).random() for _ in range(3)] == [dice_of(7).random() for _ in range(3)]
    assert dice_of(7).random() != dice_of(8).random()


def test_nobody_comes_while_the_doors_are_closed() -> None:
    assert load_at(time(3, 0)) == 0
    assert load_at(DOORS_CLOSE_AT) == 0
    assert load_at(DOORS_OPEN_AT) > 0


def test_the_late_morning_is_the_busiest() -> None:
    busiest = max((time(hour, minute) for hour in range(24) for minute in (0, 30)), key=load_at)
    assert time(9, 0) <= busiest <= time(11, 0)


def test_services_take_their_usual_minutes_on_average() -> None:
    for service in layout.SERVICES:
        dice = dice_of(1)
        average = mean(service_seconds(service.prefix, dice) for _ in range(4000)) / 60
        assert 0.9 * service.minutes < average < 1.1 * service.minutes


def test_more_windows_serve_more_customers() -> None:
    assert customers_per_hour(12) == 2 * customers_per_hour(6) > 0


@given(st.integers(1, 26**2 * 10**3), st.integers(1, 999))
def test_a_call_is_read_in_both_languages(ordinal: int, window: int) -> None:
    number = f"A{ordinal % 100000:03d}"
    expected = Sight(Showing.CALLING, number, window)
    assert read_screen(f"{number} 请到{window}号窗口") == expected
    assert read_screen(f"{number} to window {window}") == expected


def test_the_other_texts_of_a_screen_are_read() -> None:
    assert read_screen("A012 正在办理") == Sight(Showing.SERVING, "A012")
    assert read_screen("等候12人 约4-10分钟") == Sight(Showing.IDLE, waiting=12)
    assert read_screen("欢迎光临") == Sight(Showing.IDLE)
    assert read_screen("暂停服务") == Sight(Showing.PAUSED)
    assert read_screen("窗口关闭") == Sight(Showing.CLOSED)
    assert read_screen("系统故障 请稍候") == Sight(Showing.FAULT)
    assert read_screen("") == Sight(Showing.DARK)


@given(st.text(max_size=60))
def test_whatever_stands_on_a_screen_can_be_looked_at(text: str) -> None:
    assert isinstance(read_screen(text), Sight)
