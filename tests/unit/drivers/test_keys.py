"""Debounce, stuck keys and lamp patterns, with time as a number."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.drivers.keys import (
    BLINK_SECONDS,
    FLASH_SECONDS,
    MOST_FLASHES,
    KeyChange,
    KeyEvent,
    KeyFilter,
    Lamp,
)
from edge.drivers.roles import LampPattern

PRESSED, STUCK, FREED = KeyChange.PRESSED, KeyChange.STUCK, KeyChange.FREED


def at_rest(*keys: str, **options: float) -> KeyFilter:
    """A filter that has seen all its keys released."""
    keys_filter = KeyFilter(keys, **options)
    for key in keys:
        assert keys_filter.sample(key, False, 0.0) == []
    return keys_filter


def test_a_press_counts_when_it_was_stable_for_20_ms() -> None:
    keys = at_rest("call")
    assert keys.sample("call", True, 1.0) == []
    assert keys.due() == pytest.approx(1.020)
    assert keys.advance(1.019) == []
    (event,) = keys.advance(1.021)
    assert event == KeyEvent("call", PRESSED, 0.0)
    assert event.at == 1.0, "when it went down, not when it was believed"


def test_a_press_counts_once_however_long_it_is_held_before_it_is_stuck() -> None:
    keys = at_rest("call")
    keys.sample("call", True, 1.0)
    keys.advance(1.1)
    assert [keys.advance(1.0 + tenth / 10) for tenth in range(2, 100)] == [[]] * 98
    assert keys.presses == 1


def test_a_contact_that_bounces_is_one_press() -> None:
    keys = at_rest("call")
    events = []
    for step in range(7):  # 1 ms apart, ends closed
        events += keys.sample("call", step % 2 == 0, 1.0 + step / 1000)
    events += keys.advance(1.1)
    for step in range(7):  # ends open
        events += keys.sample("call", step % 2 == 1, 1.2 + step / 1000)
    events += keys.advance(1.3)
    assert events == [KeyEvent("call", PRESSED, 0.0)]
    assert keys.bounces == 6


def test_a_spike_shorter_than_20_ms_is_no_press() -> None:
    keys = at_rest("call")
    assert keys.sample("call", True, 1.0) == []
    assert keys.sample("call", False, 1.015) == []
    assert keys.advance(9.0) == []
    assert keys.bounces == 1


def test_a_key_held_for_more_than_10_s_is_stuck_once_and_ignored_until_released() -> None:
    keys = at_rest("call")
    keys.sample("call", True, 1.0)
    keys.advance(1.1)
    assert keys.advance(10.9) == []
    assert keys.advance(11.1) == [KeyEvent("call", STUCK, 0.0)]
    assert keys.stuck() == {"call"}
    assert keys.advance(500.0) == []
    assert keys.due() is None
    assert keys.sample("call", False, 600.0) == []
    assert keys.advance(600.1) == [KeyEvent("call", FREED, 0.0)]
    assert keys.stuck() == frozenset()
    keys.sample("call", True, 601.0)
    assert keys.advance(601.1) == [KeyEvent("call", PRESSED, 0.0)]


def test_a_key_that_is_down_when_first_seen_must_be_released_before_it_counts() -> None:
    keys = KeyFilter(["call"])
    assert keys.sample("call", True, 0.0) == []
    assert keys.advance(1.0) == []
    keys.sample("call", False, 2.0)
    keys.advance(2.1)
    keys.sample("call", True, 3.0)
    assert keys.advance(3.1) == [KeyEvent("call", PRESSED, 0.0)]


def test_a_key_that_is_down_from_the_start_is_stuck_after_10_s_too() -> None:
    keys = KeyFilter(["call"])
    keys.sample("call", True, 0.0)
    assert keys.advance(10.5) == [KeyEvent("call", STUCK, 0.0)]


def test_several_keys_at_once_each_count() -> None:
    keys = at_rest("call", "recall", "finish")
    for key in ("call", "recall", "finish"):
        keys.sample(key, True, 1.0)
    assert {event.key for event in keys.advance(1.1)} == {"call", "recall", "finish"}


def test_a_polled_key_counts_at_the_first_poll_that_sees_it() -> None:
    keys = at_rest("call", press_seconds=0.0)
    assert keys.sample("call", True, 0.060) == [KeyEvent("call", PRESSED, 0.0)]
    assert keys.sample("call", False, 0.120) == []
    assert keys.sample("call", False, 0.180) == []
    assert keys.sample("call", True, 0.240) == [KeyEvent("call", PRESSED, 0.0)]


def test_a_polled_key_that_bounces_between_fast_polls_counts_once() -> None:
    keys = at_rest("call", press_seconds=0.0)
    events = []
    for step, down in enumerate([True, False, True, False, True, True, True]):
        events += keys.sample("call", down, 1.0 + step * 0.004)
    assert events == [KeyEvent("call", PRESSED, 0.0)]


@given(
    tap=st.integers(80_000, 150_000),
    cycle=st.integers(5_000, 60_000),
    phase=st.integers(0, 59_999),
    taps=st.integers(1, 8),
)
def test_no_tap_of_80_to_150_ms_is_lost_or_doubled_at_any_cycle_up_to_60_ms(
    tap: int, cycle: int, phase: int, taps: int
) -> None:
    """In whole microseconds; taps begin at 0, at ``period`` … and each is whole."""
    keys = at_rest("call", press_seconds=0.0)
    period = tap + 150_000
    presses = [
        event
        for at in range(phase % cycle, taps * period, cycle)
        for event in keys.sample("call", at % period < tap, at / 1e6)
    ]
    assert len(presses) == taps


def test_a_flood_of_edges_gives_no_press_and_is_counted() -> None:
    keys = at_rest("call")
    for edge in range(10_000):
        assert keys.sample("call", edge % 2 == 0, 1.0 + edge / 5000) == []
    assert keys.bounces == 5_000


def test_forgetting_the_levels_makes_a_held_key_no_second_press() -> None:
    keys = at_rest("call", press_seconds=0.0)
    assert keys.sample("call", True, 1.0) == [KeyEvent("call", PRESSED, 0.0)]
    keys.forget(1.5)
    assert keys.sample("call", True, 2.0) == []
    assert keys.presses == 1


def test_a_key_that_went_down_while_the_wire_was_lost_for_a_moment_was_pressed() -> None:
    keys = at_rest("call", press_seconds=0.0)
    keys.forget(10.0)
    keys.forget(11.5)  # said twice: it was not seen in between
    assert keys.sample("call", True, 12.0) == []
    assert keys.sample("call", True, 12.015) == []
    assert keys.sample("call", True, 12.030) == [KeyEvent("call", PRESSED, 0.0)]
    assert keys.sample("call", True, 12.045) == []


@pytest.mark.parametrize("cycle", [0.005, 0.030, 0.060])
def test_one_poll_of_garbage_after_an_absence_is_no_press(cycle: float) -> None:
    keys = at_rest("call", press_seconds=0.0)
    keys.forget(10.0)
    assert keys.sample("call", True, 11.0) == []
    assert keys.sample("call", False, 11.0 + cycle) == []
    assert keys.bounces == 1
    keys.sample("call", False, 11.5)
    assert keys.sample("call", True, 12.0) == [KeyEvent("call", PRESSED, 0.0)]


def test_a_contact_that_bounces_at_the_return_is_pressed_when_it_has_come_to_rest() -> None:
    keys = at_rest("call", press_seconds=0.0)
    keys.forget(10.0)
    levels = [(11.0, True), (11.005, False), (11.010, True), (11.020, True), (11.040, True)]
    presses = [(at, event) for at, down in levels for event in keys.sample("call", down, at)]
    assert presses == [(11.040, KeyEvent("call", PRESSED, 0.0))]


@pytest.mark.parametrize("press_seconds", [0.0, 0.020])
@pytest.mark.parametrize("shorted", [2, 3, 8])
def test_several_keys_that_are_down_after_an_absence_must_be_released_first(
    shorted: int, press_seconds: float
) -> None:
    names = [f"key-{number}" for number in range(8)]
    keys = at_rest(*names, press_seconds=press_seconds)
    keys.forget(10.0)

    def look(at: float, down: list[str]) -> list[KeyEvent]:
        return [event for key in names for event in keys.sample(key, key in down, at)]

    short = names[-shorted:]
    assert [look(11.0 + poll / 50, short) for poll in range(50)] == [[]] * 50
    # With one still down, another that was released counts.
    assert [look(12.0 + poll / 50, short[:1]) for poll in range(50)] == [[]] * 50
    assert [*look(13.0, short[:2]), *look(13.03, short[:2])] == [KeyEvent(short[1], PRESSED, 0.0)]
    assert [*look(14.0, []), *look(14.1, [])] == []
    assert [*look(15.0, short[:1]), *look(15.03, short[:1])] == [KeyEvent(short[0], PRESSED, 0.0)]


def test_a_key_that_was_held_before_the_absence_spoils_another_at_first_sight() -> None:
    """It can't be told from a short."""
    keys = at_rest("call", "recall", press_seconds=0.0)
    keys.sample("call", True, 9.0)
    keys.forget(10.0)
    for poll in range(5):
        assert keys.sample("call", True, 11.0 + poll / 50) == []
        assert keys.sample("recall", True, 11.0 + poll / 50) == []


def test_a_key_that_is_down_after_a_long_absence_must_be_released_first() -> None:
    keys = at_rest("call", press_seconds=0.0)
    keys.forget(10.0)
    assert keys.sample("call", True, 12.1) == []
    keys.sample("call", False, 13.0)
    assert keys.sample("call", True, 14.0) == [KeyEvent("call", PRESSED, 0.0)]


def test_a_key_that_was_never_seen_before_the_wire_was_lost_must_be_released_first() -> None:
    keys = KeyFilter(["call"], press_seconds=0.0)
    keys.forget(10.0)
    assert keys.sample("call", True, 10.1) == []


def test_a_key_that_is_not_wired_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        KeyFilter(["call"]).sample("shout", True, 0.0)


class FilterAgainstHistory(RuleBasedStateMachine):
    """The filter is told levels at any moments; a slow model reads the whole history instead."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.filter = at_rest("a", "b")
        self.edges: dict[str, list[tuple[float, bool]]] = {key: [(0.0, False)] for key in "ab"}
        self.seen: list[KeyEvent] = []

    @rule(key=st.sampled_from("ab"), down=st.booleans())
    def level(self, key: str, down: bool) -> None:
        self.seen += self.filter.sample(key, down, self.now)
        if self.edges[key][-1][1] != down:
            self.edges[key].append((self.now, down))

    @rule(milliseconds=st.sampled_from([1, 5, 15, 25, 100, 4_000, 15_000]))
    def wait(self, milliseconds: int) -> None:
        until = self.now + milliseconds / 1000
        while (due := self.filter.due()) is not None and due <= until:
            self.seen += self.filter.advance(due)
        self.now = until
        self.seen += self.filter.advance(until)

    @invariant()
    def events_are_those_of_the_history(self) -> None:
        for key in "ab":
            changes = [event.change for event in self.seen if event.key == key]
            # In the very instant of a limit, rounding decides which side of it we are on.
            possible = [self.expected(key, self.now - 1e-6), self.expected(key, self.now + 1e-6)]
            assert changes in possible, self.edges[key]

    def expected(self, key: str, now: float) -> list[KeyChange]:
        """Read the edges as a person would: runs of at least 20 ms are levels, and of those a
        down that lasts more than 10 s (until the up that is believed) is stuck."""
        edges = self.edges[key]
        believed = [(0.0, False)]
        for (since, down), (until, _) in itertools.pairwise([*edges, (now, False)]):
            if until - since >= 0.020 - 1e-9 and down != believed[-1][1]:
                believed.append((since, down))
        changes = []
        for index, (since, down) in enumerate(believed):
            if not down:
                continue
            changes.append(PRESSED)
            over = index + 1 < len(believed)
            # While a release is awaited nobody is called stuck: the last edge up counts.
            last_up = edges[-1][0] if not edges[-1][1] else now
            until = believed[index + 1][0] if over else last_up
            if until - since >= 10.0 - 1e-9:
                changes.append(STUCK)
                if over:
                    changes.append(FREED)
        return changes


TestFilterAgainstHistory = FilterAgainstHistory.TestCase


def test_a_blinking_lamp_is_half_a_second_on_and_half_a_second_off() -> None:
    lamp = Lamp()
    lamp.set(LampPattern.BLINK, 3.0)
    levels = [lamp.lit(3.0 + quarter / 4) for quarter in range(8)]
    assert levels == [True, True, False, False, True, True, False, False]


def test_a_flash_lasts_300_ms_and_leaves_what_was_there_before() -> None:
    lamp = Lamp()
    lamp.set(LampPattern.FLASH, 1.0)
    assert [lamp.lit(at) for at in (1.0, 1.29, 1.31)] == [True, True, False]
    lamp.set(LampPattern.ON, 2.0)
    lamp.set(LampPattern.FLASH, 3.0)
    assert [lamp.lit(at) for at in (3.0, 3.29, 3.31)] == [False, False, True]


def test_a_new_pattern_ends_a_flash() -> None:
    lamp = Lamp()
    lamp.set(LampPattern.FLASH, 1.0)
    lamp.set(LampPattern.OFF, 1.1)
    assert not lamp.lit(1.1)
    assert lamp.next_change(1.1) is None


def test_a_flash_over_a_flash_makes_the_light_longer_by_its_own_length() -> None:
    lamp = Lamp()
    lamp.set(LampPattern.FLASH, 1.0)
    lamp.set(LampPattern.FLASH, 1.0)
    lamp.set(LampPattern.FLASH, 1.5)
    assert [lamp.lit(at) for at in (1.0, 1.59, 1.89, 1.91)] == [True, True, True, False]


def test_a_flood_of_flashes_is_no_light_for_ever() -> None:
    lamp = Lamp()
    for _ in range(1000):
        lamp.set(LampPattern.FLASH, 1.0)
    assert lamp.lit(1.0 + MOST_FLASHES * FLASH_SECONDS - 0.01)
    assert not lamp.lit(1.0 + MOST_FLASHES * FLASH_SECONDS + 0.01)


def test_telling_a_blinking_lamp_to_blink_keeps_its_rhythm() -> None:
    lamp = Lamp()
    lamp.set(LampPattern.BLINK, 0.0)
    lamp.set(LampPattern.BLINK, 0.7)
    assert not lamp.lit(0.8)


@given(
    steady=st.sampled_from([LampPattern.OFF, LampPattern.ON, LampPattern.BLINK]),
    since=st.floats(0, 1e6),
    flash_after=st.none() | st.floats(0, 5),
    ask_after=st.floats(0, 60),
)
def test_between_two_announced_changes_a_lamp_stays_as_it_is(
    steady: LampPattern, since: float, flash_after: float | None, ask_after: float
) -> None:
    lamp = Lamp()
    lamp.set(steady, since)
    start = since
    if flash_after is not None:
        start += flash_after
        lamp.set(LampPattern.FLASH, start)
    at = start + ask_after
    change = lamp.next_change(at)
    until = at + 2 * max(BLINK_SECONDS, FLASH_SECONDS) if change is None else change
    assert until > at
    samples = [at + (until - at) * part / 7 for part in range(7)]
    assert len({lamp.lit(sample) for sample in samples if sample < until}) == 1
