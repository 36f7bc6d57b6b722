"""How long somebody in line, or about to join it, will wait: a range, from the line as it is.

``QueueLength`` is the classic QL predictor, (Q + 1) / (s·µ) (Ibrahim & Whitt 2009), with service
rates learned online, and shares of the windows that other services compete for. Behind the same
interface a look-ahead may take its place.
"""

from collections import Counter
from math import sqrt

from contract.names import Moment, ServiceId, TicketState, Tier, WindowNumber, WindowState
from edge.queue.dispatch import Waiting
from edge.queue.plan import HallPlan, WaitEstimate
from edge.queue.state import HallState, ServiceTimes

PRIOR_WEIGHT = 4.0
"""The configured service time counts as so many services that were seen."""

NOT_SEEN = ServiceTimes(mean_seconds=0.0, weight=0.0)

Z_P90 = 1.2816
"""90 % quantile of the standard normal distribution."""

SERVING_STATES = frozenset({WindowState.IDLE, WindowState.CALLING, WindowState.SERVING})


class QueueLength:
    """QL with online rates, and a gamma-shaped range around it."""

    name = "queue_length"

    def estimate(
        self,
        plan: HallPlan,
        state: HallState,
        service: ServiceId,
        tier: Tier,
        now: Moment,
        *,
        place: tuple[int, int] | None = None,
    ) -> WaitEstimate:
        unix = now.wall.timestamp()
        who = Waiting(place or (state.anchor + 1, 0), "", service, tier, unix)
        before = _people_before(plan, state, who, unix)
        ahead = before.get(service, 0)
        ours = _open_windows(plan, state, service)
        if not ours:
            return WaitEstimate(ahead, None, None, "unknown:no_window")

        work = sum(
            people * mean_service_seconds(plan, state, other) * _share(plan, state, other, ours)
            for other, people in before.items()
            if other in plan.services  # a service may have left the configuration since
        )
        # The first of those who wait go to the idle windows at once. From then on: until the
        # first of s busy windows is free, and then everybody before us over s windows.
        idle = sum(state.window(number).state is WindowState.IDLE for number in ours)
        own_mean = mean_service_seconds(plan, state, service)
        people = 1 + work / own_mean - idle
        if people <= 0:
            return WaitEstimate(ahead, 0.0, 0.0, self.name)
        mean = people * own_mean / len(ours)
        return WaitEstimate(
            ahead, mean * _gamma_ratio(people, 0.0), mean * _gamma_ratio(people, Z_P90), self.name
        )


def _people_before(
    plan: HallPlan, state: HallState, who: Waiting, unix: float
) -> Counter[ServiceId]:
    """How many would be called before them, by service. Their paper may still be printing."""
    own = plan.policy(who, 0, unix)

    def is_before(waiting: Waiting) -> bool:
        return waiting.place != who.place and plan.policy(waiting, 0, unix) < own

    before: Counter[ServiceId] = Counter()
    for other, tiers in state.lines.by_service.items():
        for line in filter(None, tiers.values()):
            # Keys do not fall along a line, so its ends mostly tell for all of it.
            if is_before(line[-1]):
                before[other] += len(line)
            elif is_before(line[0]):
                before[other] += sum(map(is_before, line))
    for line in state.lines.by_window.values():
        before.update(waiting.service for waiting in line if is_before(waiting))
    before.update(
        ticket.service
        for ticket in state.tickets.values()
        if ticket.state is TicketState.PRINTING and is_before(ticket.waiting())
    )
    return before


def _share(
    plan: HallPlan, state: HallState, other: ServiceId, ours: frozenset[WindowNumber]
) -> float:
    """The part of another service's work that will fall to our windows."""
    theirs = _open_windows(plan, state, other)
    return len(ours & theirs) / len(theirs) if theirs else 0.0


def mean_service_seconds(plan: HallPlan, state: HallState, service: ServiceId) -> float:
    """What was learned, weighed with what was configured."""
    prior = plan.services[service].expected_seconds
    seen = state.service_times.get(service, NOT_SEEN)
    total = prior * PRIOR_WEIGHT + seen.mean_seconds * seen.weight
    return max(1.0, total / (PRIOR_WEIGHT + seen.weight))


def _open_windows(plan: HallPlan, state: HallState, service: ServiceId) -> frozenset[WindowNumber]:
    return frozenset(
        number
        for number, skills in plan.windows.items()
        if service in skills.preference and state.window(number).state in SERVING_STATES
    )


def _gamma_ratio(shape: float, z: float) -> float:
    """Quantile ÷ mean of a gamma distribution, by Wilson & Hilferty (1931): the wait behind k
    services in a row is close to gamma of shape k."""
    return max(0.0, 1 - 1 / (9 * shape) + z / (3 * sqrt(shape))) ** 3
