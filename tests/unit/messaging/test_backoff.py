from random import Random

from hypothesis import given
from hypothesis import strategies as st

from messaging.session import Backoff


@given(st.integers())
def test_the_delay_doubles_up_to_the_ceiling_with_jitter_below_the_step(seed: int) -> None:
    backoff = Backoff(Random(seed), first=0.5, ceiling=30.0)
    for step in (0.5, 1, 2, 4, 8, 16, 30, 30, 30):
        assert step / 2 <= backoff.next_delay() <= step


def test_success_begins_anew() -> None:
    backoff = Backoff(Random(1))
    for _ in range(8):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() <= 0.5
