"""MQTT topics as functions. Their depth is fixed, so that ACL patterns stay simple."""

import re

from contract.names import SLUG_PATTERN, CommandId, HallId

_HALL_TOPIC = re.compile(r"^halls/([^/]+)/v1/(events|backlog|state|ack)$")

EVENTS_OF_ALL = "halls/+/v1/events"
BACKLOG_OF_ALL = "halls/+/v1/backlog"
STATES_OF_ALL = "halls/+/v1/state"
NETWORK = "central/v1/network"
LIVE_OF_ALL = "central/v1/halls/+/live"


def events(hall: HallId) -> str:
    """Live events, one CloudEvent a message. Hall to centre."""
    return f"halls/{hall}/v1/events"


def backlog(hall: HallId) -> str:
    """Events that could not be sent when they happened: a JSON array of CloudEvents (the
    CloudEvents JSON batch format). Hall to centre."""
    return f"halls/{hall}/v1/backlog"


def state(hall: HallId) -> str:
    """The hall's state document, retained; also its last will. Hall to centre."""
    return f"halls/{hall}/v1/state"


def ack(hall: HallId) -> str:
    """The centre's cumulative acknowledgement, retained. Centre to hall."""
    return f"halls/{hall}/v1/ack"


def command(hall: HallId, command_id: CommandId) -> str:
    """A command. Centre to hall."""
    return f"halls/{hall}/v1/cmd/{command_id}"


def commands(hall: HallId) -> str:
    """Filter for all commands to a hall."""
    return f"halls/{hall}/v1/cmd/+"


def reply(hall: HallId, command_id: CommandId) -> str:
    """What became of a command. Hall to centre."""
    return f"halls/{hall}/v1/cmd/{command_id}/reply"


def live(hall: HallId) -> str:
    """The centre's live document of one hall, retained. Centre to dashboards."""
    return f"central/v1/halls/{hall}/live"


def hall_of(topic: str) -> HallId | None:
    """The hall in one of a hall's topics; ``None`` where the topic is none of ours."""
    match = _HALL_TOPIC.fullmatch(topic)
    if match is None or not re.fullmatch(SLUG_PATTERN, match[1]):
        return None
    return match[1]
