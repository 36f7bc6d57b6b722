"""What people are like, in numbers: when they come, how long things take, how they press keys."""

import math
from datetime import time
from random import Random

from simulator import layout

CLERKS_COME_AT = time(8, 25)
DOORS_OPEN_AT = time(8, 30)
DOORS_CLOSE_AT = time(17, 30)
EARLY_BIRDS_PER_WINDOW = 0.8
"""Who wait at the door when it opens."""
MAX_IN_HALL = 120

ARRIVALS: tuple[tuple[time, float], ...] = (
    (DOORS_OPEN_AT, 1.1),
    (time(9, 0), 1.0),
    (time(9, 30), 1.25),
    (time(10, 45), 0.95),
    (time(11, 30), 0.6),
    (time(13, 30), 0.85),
    (time(16, 0), 0.6),
    (DOORS_CLOSE_AT, 0.0),
)
"""From when on, and how busy: 1.0 is as many customers as the windows can just serve."""
BUSIEST = max(load for _, load in ARRIVALS)
MINUTES_BETWEEN = 1.2
"""Calling, walking and saying goodbye, beside the service itself."""
HANDS_SECONDS = 1.5
"""Of real time: the presses of one customer's service."""

PRIORITY_SHARE = 0.08
GONE_SHARE = 0.04
"""Left without a word: they never come."""
SLOW_SHARE = 0.04
"""Look up late, when they have been called for a while."""
LEANING_SHARE = 0.004
"""Lean on all keys at once."""
IMPATIENT_SHARE = 0.006
"""Press five times for a number."""
PARK_SHARE = 0.04
PATIENCE_MINUTES = 100.0

RATINGS = (("very_satisfied", 0.46), ("satisfied", 0.39), ("neutral", 0.1), ("dissatisfied", 0.05))
SILENT_SHARE = 0.35
LATE_SHARE = 0.05
"""Rate when they are not asked any more."""
FIVE_TIMES_SHARE = 0.05

PRESS_SECONDS = (0.14, 0.3)
"""How long a finger stays on a key; real time."""
MAX_ATTEMPTS = 6
"""At the dispenser, before a customer goes home."""
PAPER_SECONDS = 12.0
"""How long somebody whose press was accepted waits for the paper; real time."""
LOOK_AGAIN_SECONDS = 0.5
"""How often somebody looks who saw nothing happen; real time."""


def dice_of(seed: int) -> Random:
    """Chance that can be repeated."""
    return Random(seed)  # noqa: S311 - people are no secret


def load_at(moment: time) -> float:
    """How busy the hall is at this time of the day."""
    load = 0.0
    for since, value in ARRIVALS:
        if moment >= since:
            load = value
    return load


def on_duty(moment: time) -> bool:
    """Whether clerks are at work at this time of the day."""
    return CLERKS_COME_AT <= moment < DOORS_CLOSE_AT


def customers_per_hour(windows: int, speed: float = 1.0) -> float:
    """As many as so many windows can just serve. Hands are no faster when hall time is."""
    minutes = sum(service.minutes * service.share for service in layout.SERVICES)
    return windows * 60 / (minutes + MINUTES_BETWEEN + HANDS_SECONDS * speed / 60)


def service_seconds(prefix: str, dice: Random) -> float:
    """A service time: log-normal around the service's usual minutes."""
    minutes = next((s.minutes for s in layout.SERVICES if s.prefix == prefix), 4.0)
    sigma = 0.5
    mu = math.log(minutes * 60) - sigma**2 / 2
    return min(dice.lognormvariate(mu, sigma), 4 * minutes * 60)
