"""How long somebody new would wait for each service: asked by many screens, computed once."""

import logging

from contract.names import ServiceId, Tier
from edge import words
from edge.clock import Clock
from edge.controller import Controller
from edge.queue.state import HallState

log = logging.getLogger(__name__)


class Waits:
    """The estimates of one state of the hall. Where forty idle windows each asked for ten services,
    they held the event loop for longer than a tap lasts."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock
        self._state: HallState | None = None
        self._known: dict[ServiceId, words.Minutes | None] = {}

    def forget(self) -> None:
        """Time has passed: they are computed anew."""
        self._state = None

    def of(self, service: ServiceId, state: HallState) -> words.Minutes | None:
        """As people are told it; ``None`` where nobody can tell."""
        if state is not self._state:
            self._state, self._known = state, {}
        if service not in self._known:
            self._known[service] = self._estimated(service, state)
        return self._known[service]

    def _estimated(self, service: ServiceId, state: HallState) -> words.Minutes | None:
        plan = self._controller.plan
        try:
            return words.minutes(
                plan.estimator.estimate(plan, state, service, Tier.NORMAL, self._clock.now())
            )
        except Exception:  # an estimate is a comfort; the hall works without one
            log.exception("no estimate for the screens, service %s", service)
            return None
