"""``asyncapi.yaml``: the wire contract as an AsyncAPI 3.0 document, made from ``contract``.

Specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0 ; MQTT bindings 0.2.0.
"""

import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from contract import topics
from contract.commands import CentralCommand, CentralReply
from contract.documents import Ack, HallLive, HallReport, NetworkLive
from contract.envelope import CloudEvent, to_json
from contract.events import EVENT_TYPES, HallEvent
from contract.names import SLUG_PATTERN
from tools.asyncapi import docstrings, examples

Json = dict[str, Any]

EVENT_CONTENT = "application/cloudevents+json"
BATCH_CONTENT = "application/cloudevents-batch+json"
DOCUMENT_CONTENT = "application/json"
MQTT_BINDINGS = "0.2.0"

HEADER = """\
# Generated from contract/ by `make asyncapi`: don't edit, a test compares.
"""

DESCRIPTION = """\
What crosses the wire between a service hall's controller (the edge) and the centre.

Events are CloudEvents 1.0 in structured JSON, numbered without gaps per hall by `sequence` within
an `epoch`. The hall sends an event until the centre's cumulative `ack` covers it: a broker's
PUBACK is not delivery. The centre takes each (hall, epoch, sequence) once, so sending twice is
harmless. Consumers ignore unknown fields and refuse unknown majors (the number at the end of a
type).

Everything is published at QoS 1. Documents (`state`, `ack`, `central/v1/…`) are retained and
replace the one before; correctness never rests on their being retained.
"""


@dataclass(frozen=True)
class Message:
    name: str
    title: str
    summary: str
    content: str
    payload: str
    """Name of the schema."""
    examples: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Channel:
    name: str
    address: str
    description: str
    messages: tuple[Message, ...]
    retained: bool
    sender: str
    receivers: tuple[str, ...]
    reply: str | None = None


def as_yaml() -> str:
    return HEADER + yaml.dump(
        build(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def build() -> Json:
    """The whole document."""
    channels = _channels()
    messages = {message.name: message for channel in channels for message in channel.messages}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Now Serving: hall and centre",
            "version": "1.0.0",
            "description": DESCRIPTION,
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": DOCUMENT_CONTENT,
        "servers": _servers(),
        "channels": {channel.name: _channel(channel) for channel in channels},
        "operations": dict(_operations(channels)),
        "components": {
            "securitySchemes": SECURITY,
            "parameters": PARAMETERS,
            "messages": {name: _message(message) for name, message in messages.items()},
            "schemas": _schemas(),
        },
    }


# --- servers and who may connect -----------------------------------------------------------------

SECURITY: Json = {
    "password": {
        "type": "userPassword",
        "description": "A hall's user name is its hall id, and the only hall in the topics that it "
        "may write. Dashboards have users that may read `central/v1/#` and write nothing.",
    },
    "certificate": {
        "type": "X509",
        "description": "A client certificate per hall; its common name is the hall id.",
    },
}


def _servers() -> Json:
    password, certificate = (
        {"$ref": f"#/components/securitySchemes/{name}"} for name in ("password", "certificate")
    )
    last_will = {
        "topic": topics.state(examples.HALL),
        "qos": 1,
        "retain": True,
        "message": examples.LAST_WILL.model_dump_json(),
    }
    return {
        "broker": {
            "host": "{broker}:{port}",
            "protocol": "mqtt",
            "protocolVersion": "5.0",
            "description": "The broker without TLS, for a trusted machine or network; MQTT 3.1.1 "
            "by configuration. The last will shown is that of an example hall.",
            "variables": _address("1883"),
            "security": [password],
            "bindings": {"mqtt": {"lastWill": last_will, "bindingVersion": MQTT_BINDINGS}},
        },
        "broker-tls": {
            "host": "{broker}:{port}",
            "protocol": "secure-mqtt",
            "protocolVersion": "5.0",
            "description": "The broker over TLS, for halls elsewhere.",
            "variables": _address("8883"),
            "security": [certificate, password],
        },
        "dashboards": {
            "host": "{broker}:{port}",
            "protocol": "wss",
            "description": "MQTT over WebSocket, for pages that show `central/v1/…`.",
            "variables": _address("9001"),
            "security": [password],
        },
    }


def _address(port: str) -> Json:
    return {
        "broker": {"default": "localhost", "description": "Where the broker runs."},
        "port": {"default": port},
    }


# --- channels, messages, operations --------------------------------------------------------------

PARAMETERS: Json = {
    "hall": {
        "description": f"The hall's id, also its MQTT user name. Matches `{SLUG_PATTERN}`.",
        "examples": [examples.HALL],
    },
    "command": {
        "description": "The command's id, a ULID; a command is taken once per id.",
        "examples": [examples.COMMAND],
    },
}


def _channels() -> list[Channel]:
    events = tuple(_event_message(model) for model in EVENT_TYPES.values())
    batch = Message(
        name="Backlog",
        title="backlog",
        summary="Events in the CloudEvents JSON batch format, in order of their sequence.",
        content=BATCH_CONTENT,
        payload="Backlog",
        examples=(("two events", [_wire("TicketIssued", 0), _wire("TicketPrinted", 1)]),),
    )
    return [
        Channel(
            name="events",
            address=topics.events("{hall}"),
            description=_doc(topics.events),
            messages=events,
            retained=False,
            sender="edge",
            receivers=("centre",),
        ),
        Channel(
            name="backlog",
            address=topics.backlog("{hall}"),
            description=_doc(topics.backlog),
            messages=(batch,),
            retained=False,
            sender="edge",
            receivers=("centre",),
        ),
        Channel(
            name="state",
            address=topics.state("{hall}"),
            description=_doc(topics.state),
            messages=(
                _document(
                    HallReport, ("at work", examples.HALL_STATE), ("last will", examples.LAST_WILL)
                ),
            ),
            retained=True,
            sender="edge",
            receivers=("centre",),
        ),
        Channel(
            name="ack",
            address=topics.ack("{hall}"),
            description=_doc(topics.ack),
            messages=(_document(Ack, ("everything is kept", examples.ACK)),),
            retained=True,
            sender="centre",
            receivers=("edge",),
        ),
        Channel(
            name="command",
            address=topics.command("{hall}", "{command}"),
            description=_doc(topics.command),
            messages=(_document(CentralCommand, ("pause a window", examples.CENTRAL_COMMAND)),),
            retained=False,
            sender="centre",
            receivers=("edge",),
            reply="reply",
        ),
        Channel(
            name="reply",
            address=topics.reply("{hall}", "{command}"),
            description=_doc(topics.reply),
            messages=(
                _document(
                    CentralReply,
                    ("done", examples.CENTRAL_REPLY),
                    ("refused", examples.REFUSED_REPLY),
                ),
            ),
            retained=False,
            sender="edge",
            receivers=("centre",),
        ),
        Channel(
            name="live",
            address=topics.live("{hall}"),
            description=_doc(topics.live),
            messages=(_document(HallLive, ("one hall", examples.HALL_LIVE)),),
            retained=True,
            sender="centre",
            receivers=("dashboard",),
        ),
        Channel(
            name="network",
            address=topics.NETWORK,
            description="All halls in a few numbers, retained. Centre to dashboards.",
            messages=(_document(NetworkLive, ("the network", examples.NETWORK_LIVE)),),
            retained=True,
            sender="centre",
            receivers=("dashboard",),
        ),
    ]


def _event_message(model: type[HallEvent]) -> Message:
    return Message(
        name=model.__name__,
        title=model.type,
        summary=_first_line(model),
        content=EVENT_CONTENT,
        payload=f"{model.__name__}CloudEvent",
        examples=((model.type, _wire(model.__name__, 0)),),
    )


def _document(model: type[BaseModel], *named: tuple[str, BaseModel]) -> Message:
    return Message(
        name=model.__name__,
        title=model.__name__,
        summary=_first_line(model),
        content=DOCUMENT_CONTENT,
        payload=model.__name__,
        examples=tuple((name, json.loads(example.model_dump_json())) for name, example in named),
    )


def _wire(name: str, step: int) -> Json:
    """An example event as it is sent, ``step`` places on in the journal."""
    event: Json = json.loads(
        to_json(
            examples.EVENTS[name],
            hall=examples.HALL,
            epoch=examples.EPOCH,
            seq=examples.SEQ + step,
        )
    )
    return event


def _channel(channel: Channel) -> Json:
    used = [name for name in PARAMETERS if f"{{{name}}}" in channel.address]
    body: Json = {
        "address": channel.address,
        "description": channel.description,
        "messages": {m.name: {"$ref": f"#/components/messages/{m.name}"} for m in channel.messages},
    }
    if used:
        body["parameters"] = {name: {"$ref": f"#/components/parameters/{name}"} for name in used}
    return body


def _message(message: Message) -> Json:
    return {
        "name": message.name,
        "title": message.title,
        "summary": message.summary,
        "contentType": message.content,
        "payload": {"$ref": f"#/components/schemas/{message.payload}"},
        "examples": [{"name": name, "payload": payload} for name, payload in message.examples],
    }


def _operations(channels: list[Channel]) -> Iterable[tuple[str, Json]]:
    """Both ends of every channel: who sends, and who receives."""
    for channel in channels:
        ends = [(channel.sender, "send"), *((who, "receive") for who in channel.receivers)]
        for who, action in ends:
            operation: Json = {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel.name}"},
                "summary": f"The {who} {action}s on {channel.address}",
                "tags": [{"name": who}],
                "bindings": {
                    "mqtt": {
                        "qos": 1,
                        "retain": channel.retained,
                        "bindingVersion": MQTT_BINDINGS,
                    }
                },
            }
            if channel.reply:
                operation["reply"] = {"channel": {"$ref": f"#/channels/{channel.reply}"}}
            yield f"{who}.{action}.{channel.name}", operation


# --- schemas -------------------------------------------------------------------------------------


class _Schemas(GenerateJsonSchema):
    """pydantic's schemas without titles that only repeat a field's name."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def _schemas() -> Json:
    """Every model of the contract, and per event type its CloudEvent."""
    roots: list[type[BaseModel]] = [
        CloudEvent,
        *EVENT_TYPES.values(),
        *(HallReport, Ack, CentralCommand, CentralReply, HallLive, NetworkLive),
    ]
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(root, "validation") for root in roots]
    _, top = models_json_schema(
        wanted,
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schemas,
    )
    schemas: Json = top["$defs"]
    for cls in _contract_classes():
        if cls.__name__ in schemas:
            _describe(schemas[cls.__name__], cls)
    schemas = {name: _asyncapi_schema(schema) for name, schema in schemas.items()}
    for model in EVENT_TYPES.values():
        schemas[f"{model.__name__}CloudEvent"] = {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEvent"},
                {
                    "properties": {
                        "type": {"const": model.type},
                        "data": {"$ref": f"#/components/schemas/{model.__name__}"},
                    }
                },
            ]
        }
    schemas["Backlog"] = {
        "type": "array",
        "minItems": 1,
        "items": {
            "oneOf": [
                {"$ref": f"#/components/schemas/{model.__name__}CloudEvent"}
                for model in EVENT_TYPES.values()
            ]
        },
    }
    return dict(sorted(schemas.items()))


def _contract_classes() -> list[type]:
    modules = [module for name, module in sys.modules.items() if name.startswith("contract.")]
    return [
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member) and member.__module__ == module.__name__
    ]


def _describe(schema: Json, cls: type) -> None:
    """Add the docstrings that stand under fields and enum members."""
    for name, field in schema.get("properties", {}).items():
        found = docstrings.of_member(cls, name)
        if found is not None and found.doc:
            field["description"] = _plain(found.doc)
    if issubclass(cls, Enum):
        told = [(m.value, docstrings.of_member(cls, m.name)) for m in cls]
        lines = [f"- `{value}`: {_plain(a.doc)}" for value, a in told if a is not None and a.doc]
        if lines:
            schema["description"] = "\n".join([*_paragraph(schema.get("description")), *lines])
    if "description" in schema:
        schema["description"] = _plain(schema["description"])


def _paragraph(text: str | None) -> list[str]:
    return [text, ""] if text else []


def _asyncapi_schema(node: Any) -> Any:
    """A JSON Schema as AsyncAPI takes it, which builds on draft 7.

    What stands beside a ``$ref`` is ignored there, so the reference is wrapped; and a
    ``discriminator`` is the property's name alone.
    """
    match node:
        case {"$ref": reference, **beside} if beside:
            return _asyncapi_schema({"allOf": [{"$ref": reference}], **beside})
        case {"discriminator": {"propertyName": name}, **beside}:
            return {**_asyncapi_schema(beside), "discriminator": name}
        case dict():
            return {key: _asyncapi_schema(value) for key, value in node.items()}
        case list():
            return [_asyncapi_schema(item) for item in node]
    return node


# --- text ----------------------------------------------------------------------------------------


def _doc(function: Callable[..., Any]) -> str:
    return _plain(inspect.getdoc(function) or "")


def _first_line(cls: type) -> str:
    paragraph = inspect.cleandoc(cls.__doc__ or cls.__name__).split("\n\n", maxsplit=1)[0]
    return _plain(" ".join(paragraph.split()))


def _plain(text: str) -> str:
    """Docstring markup as Markdown."""
    return text.replace("``None``", "`null`").replace("``", "`")


class _Dumper(yaml.SafeDumper):
    """YAML for people: texts of several lines as blocks, no anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless and False)  # lists stand under their key


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
