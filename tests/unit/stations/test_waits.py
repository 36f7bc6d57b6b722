"""An estimate is computed once for all screens, and again when it may have changed."""

from dataclasses import replace
from typing import Any

from edge.clock import ManualClock
from edge.controller import Controller
from edge.queue.estimate import QueueLength
from edge.queue.state import HallState
from edge.stations.waits import Waits
from tests.support.hall import MORNING, make_plan
from tests.support.memory_log import MemoryLog


class Counted(QueueLength):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def estimate(self, *args: Any, **more: Any) -> Any:  # type: ignore[override]
        self.asked += 1
        return super().estimate(*args, **more)


async def test_forty_screens_that_ask_for_a_service_cost_one_estimate() -> None:
    estimator = Counted()
    plan = replace(make_plan(), estimator=estimator)
    clock, state = ManualClock(MORNING), HallState()
    waits = Waits(Controller(plan, state, 0, MemoryLog(), clock), clock)
    first, *others = {waits.of("a", state) for _ in range(40)}
    assert (others, estimator.asked) == ([], 1)
    waits.of("b", state)
    assert estimator.asked == 2, "each service has its own"
    assert waits.of("a", state) == first
    later = replace(state)
    waits.of("a", later)
    assert estimator.asked == 3, "another state, another wait"
    waits.forget()
    waits.of("a", later)
    assert estimator.asked == 4, "time has passed"
