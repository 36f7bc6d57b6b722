"""What is counted of a hall for its live document: in SQL, in the database's thread."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cloud_sync.projections import DayRow
from cloud_sync.store import HallFacts, Position, ServiceFacts
from contract.documents import WindowStatus
from contract.names import DeviceStatus, HallPhase, TicketState, WindowState

See = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
"""A query and its values; its rows."""

MAX_SHOWN = 500
"""Services, and devices, of one hall in its live document; as many services as a hall may name."""


def _nearest_rank(column: str, percent: int) -> str:
    """The smallest value that at least so many percent of all do not exceed; of a table with the
    columns ``place`` (1, 2 … by size) and ``many``."""
    return f"max(CASE WHEN place = (many * {percent} + 99) / 100 THEN {column} END)"


# Values of these: the hall, the business day. They count in the database's thread: a day may have
# hundreds of thousands of tickets.
_OF_DAY = "FROM tickets WHERE hall = ?1 AND business_day = ?2"
_TICKETS_OF_DAY = f"""
    SELECT count(issued_at), count(finished_at), coalesce(sum(no_shows > 0), 0) {_OF_DAY}
"""
_RATINGS_OF_DAY = f"""
    SELECT rating, count(*) {_OF_DAY} AND rating IS NOT NULL GROUP BY rating ORDER BY rating
"""
_SERVICE_TIME_OF_DAY = f"""
    SELECT {_nearest_rank("service_seconds", 50)} FROM (
      SELECT service_seconds, row_number() OVER (ORDER BY service_seconds) AS place,
        count(*) OVER () AS many
      {_OF_DAY} AND service_seconds IS NOT NULL)
"""  # noqa: S608
_SERVICES_OF_DAY = f"""
    WITH counted AS (
      SELECT service, sum(status IS '{TicketState.WAITING}') AS waiting, count(called_at) AS called
      {_OF_DAY} GROUP BY service ORDER BY service LIMIT ?3),
    ranked AS (
      SELECT service, wait_seconds,
        row_number() OVER (PARTITION BY service ORDER BY wait_seconds) AS place,
        count(*) OVER (PARTITION BY service) AS many
      {_OF_DAY} AND wait_seconds IS NOT NULL)
    SELECT service, waiting, called, {_nearest_rank("wait_seconds", 50)},
      {_nearest_rank("wait_seconds", 90)}
    FROM counted LEFT JOIN ranked USING (service) GROUP BY service ORDER BY service
"""  # noqa: S608


async def facts_of(see: See, hall: str) -> HallFacts:
    """What is derived of this hall, within one snapshot."""
    found = await see("SELECT id FROM halls WHERE name = ?", (hall,))
    hall_id = found[0][0] if found else -1
    day = await _day(see, hall_id)
    of_day = (hall_id, day.business_day if day else "")
    ((issued, finished, no_shows),) = await see(_TICKETS_OF_DAY, of_day)
    ((service_p50,),) = await see(_SERVICE_TIME_OF_DAY, of_day)
    newest = await see(
        "SELECT epoch, contiguous, highest FROM streams WHERE hall = ? ORDER BY id DESC LIMIT 1",
        (hall_id,),
    )
    ((events,),) = await see(
        "SELECT coalesce(sum(events), 0) FROM streams WHERE hall = ?", (hall_id,)
    )
    return HallFacts(
        day=day,
        events=events,
        position=Position(hall, *newest[0]) if newest else None,
        services=tuple(
            ServiceFacts(*row) for row in await see(_SERVICES_OF_DAY, (*of_day, MAX_SHOWN))
        ),
        windows=await _windows(see, hall_id),
        devices=await _devices(see, hall_id),
        issued=issued,
        finished=finished,
        no_shows=no_shows,
        service_p50_seconds=service_p50,
        ratings=dict(await see(_RATINGS_OF_DAY, of_day)),
    )


async def _day(see: See, hall_id: int) -> DayRow | None:
    rows = await see("SELECT business_day, phase FROM days WHERE hall = ?", (hall_id,))
    return DayRow(rows[0][0], HallPhase(rows[0][1])) if rows else None


async def _windows(see: See, hall_id: int) -> tuple[WindowStatus, ...]:
    rows = await see(
        "SELECT windows.window, state, windows.clerk, windows.number, tickets.status"
        " FROM windows LEFT JOIN tickets USING (hall, ticket)"
        " WHERE windows.hall = ? ORDER BY windows.window",
        (hall_id,),
    )
    return tuple(_window_status(*row) for row in rows)


async def _devices(see: See, hall_id: int) -> dict[str, DeviceStatus]:
    rows = await see(
        "SELECT device, status FROM devices WHERE hall = ? ORDER BY device LIMIT ?",
        (hall_id, MAX_SHOWN),
    )
    return {device: DeviceStatus(status) for device, status in rows}


def _window_status(
    window: int, state: str, clerk: str | None, number: str | None, ticket_status: str | None
) -> WindowStatus:
    if state == WindowState.CALLING and ticket_status == TicketState.CANCELLED:
        # The cancellation of a called ticket frees its window and does not name it.
        state, number = WindowState.IDLE, None
    return WindowStatus(window=window, state=WindowState(state), clerk=clerk, number=number)
