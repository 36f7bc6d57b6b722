"""The centre's configuration: one TOML file, checked before anything starts."""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from messaging.session import MqttConfig, TlsConfig, new_client_id

Port = Annotated[int, Field(ge=1, le=65535)]
Origin = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:([0-9]{1,5}|\*))?$")]
"""Of a page; ``*`` is any port."""
HostName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""Without a port, in small letters."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mqtt(_Section):
    """The broker that the halls talk to."""

    host: str = Field(min_length=1, description="name or address of the broker",
                      examples=["127.0.0.1"])  # fmt: skip
    port: Port = Field(1883, description="its port; 8883 with TLS")
    client_id: str | None = Field(
        None,
        min_length=1,
        description="at the broker; whoever knows it can end our session, so it is made up anew at "
        "each start unless it is set",
    )
    username: str | None = Field(None, description="the centre's user", examples=["centre"])
    password_file: Path | None = Field(
        None,
        description="file that holds the password and nothing else",
        examples=["/run/credentials/nowserving-sync.service/mqtt-password"],
    )
    protocol: Literal[5, 311] = Field(5, description="5, or 311 for MQTT 3.1.1")
    keepalive_seconds: int = Field(15, ge=5, le=120, description="MQTT keep alive")
    ca_file: Path | None = Field(
        None, description="turns TLS on: who signed the broker's certificate (PEM)"
    )
    cert_file: Path | None = Field(None, description="our own certificate (PEM)")
    key_file: Path | None = Field(None, description="its key (PEM)")


class StoreSection(_Section):
    """Where everything is kept."""

    path: Path = Field(
        description="the SQLite file; made if it is not there",
        examples=["/var/lib/nowserving-sync/centre.db"],
    )


class Page(_Section):
    """The page for people, and /healthz."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8090, description="port to listen on")
    websocket_port: Port = Field(9001, description="the broker's WebSocket port, for browsers")
    websocket_url: str | None = Field(
        None,
        pattern=r"^wss?://[^\s;,'\"]+$",
        description="where browsers find the broker, if not at the page's own host",
        examples=["wss://halls.example.com/mqtt"],
    )
    username: str = Field("dashboards", description="the broker's read-only user")
    password_file: Path | None = Field(
        None,
        description="its password: whoever can open the page is told it",
        examples=["/run/credentials/nowserving-sync.service/dashboards-password"],
    )
    names: tuple[HostName, ...] = Field(
        (),
        description="names that people find the page at, beside addresses and this machine's own",
        examples=[["halls.example.com"]],
    )
    framed_by: tuple[Origin, ...] = Field(
        (),
        description="origins of other sites whose pages may show this one in a frame",
        examples=[["https://portal.example.com"]],
    )


class Presence(_Section):
    """When a hall counts as lost."""

    stale_seconds: float = Field(
        45.0, gt=0, description="no heartbeat for so long; halls send one every 15 s"
    )


class SyncConfig(_Section):
    """All of the file."""

    mqtt: Mqtt
    store: StoreSection
    page: Page = Page()
    presence: Presence = Presence()

    def broker(self) -> MqttConfig:
        """How to connect. Raises ``OSError`` when the password can't be read."""
        section = self.mqtt
        tls = None
        if section.ca_file is not None:
            tls = TlsConfig(section.ca_file, section.cert_file, section.key_file)
        return MqttConfig(
            host=section.host,
            port=section.port,
            client_id=section.client_id or new_client_id("nowserving-sync"),
            username=section.username,
            password=read_secret(section.password_file),
            tls=tls,
            protocol=section.protocol,
            keepalive_seconds=section.keepalive_seconds,
        )


def read_secret(path: Path | None) -> str | None:
    """A password file's first line. Raises ``OSError``."""
    return None if path is None else path.read_text(encoding="utf-8").strip()


class ConfigInvalid(Exception):
    """The file can't be used. ``problems`` are sentences, one for each thing that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{path}: {count}\n" + "\n".join(f"  {each}" for each in problems))
        self.problems = problems


def load(path: Path, *, files: bool = True) -> SyncConfig:
    """Read and check. Raises ``ConfigInvalid`` with all problems at once.

    Without ``files``, those that are named may be unreadable: what a service manager hands to the
    service is nobody else's, and gone when it has stopped.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Notepad begins with a BOM
    except IsADirectoryError:
        problem = f"is a folder; name the file in it, for example --config {path / 'sync.toml'}"
        raise ConfigInvalid(path, [problem]) from None
    except OSError as error:
        raise ConfigInvalid(path, [f"can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = f"line {line}: is not UTF-8 (is it GBK?); save the file as UTF-8"
        raise ConfigInvalid(path, [problem]) from None
    except (ValueError, RecursionError) as error:  # TOML's own, and what Python can't hold
        problem = f'is not TOML: {error}; right would be, for example: name = "a text"'
        raise ConfigInvalid(path, [problem]) from None
    # What can be seen whatever else is wrong is looked at before the rest is.
    problems = [
        *_not_together(document),
        *(_unreadable_files(document) if files else ()),
        *_folder(document),
        *_one_port_for_two(document),
    ]
    try:
        config = SyncConfig.model_validate(document)
    except ValidationError as error:
        others = [_problem(each) for each in error.errors(include_url=False)]
        raise ConfigInvalid(path, [*others, *problems]) from None
    if problems:
        raise ConfigInvalid(path, problems)
    return config


_FILES = (
    ("mqtt", "password_file"),
    ("mqtt", "ca_file"),
    ("mqtt", "cert_file"),
    ("mqtt", "key_file"),
    ("page", "password_file"),
)


def _text(document: dict[str, Any], section: str, key: str) -> str | None:
    """What stands there, if it is a text."""
    table = document.get(section)
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else None


def _not_together(document: dict[str, Any]) -> Iterator[str]:
    there = {key for section, key in _FILES if section == "mqtt" and _text(document, "mqtt", key)}
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if key in there and other not in there:
            yield (
                f"mqtt.{other}: is missing: cert_file and key_file belong together; right would "
                f'be, for example: {other} = "/etc/nowserving/centre.{_SUFFIX[other]}"'
            )
    if "cert_file" in there and "ca_file" not in there:
        yield (
            "mqtt.ca_file: is missing: cert_file needs it, it turns TLS on; right would be, for "
            'example: ca_file = "/etc/nowserving/ca.crt"'
        )


_SUFFIX = {"cert_file": "crt", "key_file": "key"}


def _unreadable_files(document: dict[str, Any]) -> Iterator[str]:
    for section, key in _FILES:
        path = _text(document, section, key)
        if path is None:
            continue
        try:
            Path(path).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: no path at all
            why = error.strerror if isinstance(error, OSError) else error
            yield f"{section}.{key}: {path} can't be read: {why}"


def _folder(document: dict[str, Any]) -> Iterator[str]:
    path = _text(document, "store", "path")
    if path is not None and os.path.isdir(path or "."):  # an empty text is this folder
        yield (
            f"store.path: {path or '.'} is a folder; name a file, for example: "
            'path = "/var/lib/nowserving-sync/centre.db"'
        )


_THIS_MACHINE = {"127.0.0.1", "localhost", "::1"}


def _one_port_for_two(document: dict[str, Any]) -> Iterator[str]:
    """The page is served on one, browsers find the broker on another, and we on a third."""
    page, mqtt = document.get("page", {}), document.get("mqtt")
    if not isinstance(page, dict):
        return
    served = page.get("port", Page.model_fields["port"].default)
    browsers = page.get("websocket_port", Page.model_fields["websocket_port"].default)
    if "websocket_url" in page:
        browsers = None  # it is not used
    if isinstance(mqtt, dict) and mqtt.get("host") in _THIS_MACHINE:
        broker = mqtt.get("port", Mqtt.model_fields["port"].default)
        if served == broker:
            yield (
                f"page.port: {served} is the port of the broker on this machine (mqtt.port); give "
                f"the page another one, for example: port = {_other(8090, broker)}"
            )
        if browsers == broker:
            yield (
                f"page.websocket_port: {browsers} is the port of the broker on this machine for "
                "MQTT (mqtt.port); browsers find it on another one, for example: "
                f"websocket_port = {_other(9001, broker)}"
            )
    if browsers is not None and served == browsers:
        yield (
            f"page.websocket_port: {browsers} is the page's own port; the broker listens for "
            f"browsers on another one, for example: websocket_port = {_other(9001, browsers)}"
        )


def _other(usual: int, taken: object) -> int:
    """A port for an example, that is not the one that is taken."""
    return usual + 1 if usual == taken else usual


def _problem(detail: ErrorDetails) -> str:
    """One sentence: which key, what is wrong, what would be right."""
    key = ".".join(str(part) for part in detail["loc"]) or "the file"
    location = [part for part in detail["loc"] if isinstance(part, str)]  # without places in lists
    section = _section(location[:-1]) or SyncConfig
    if detail["type"] == "extra_forbidden":
        known = sorted(section.model_fields)
        near = difflib.get_close_matches(location[-1], known, n=1)
        if not near:
            return f"{key}: unknown key; known here: {', '.join(known)}"
        return f"{key}: unknown key; did you mean {near[0]}?{_right(section, near[0])}"
    what = "is missing" if detail["type"] == "missing" else detail["msg"]
    what = what.removeprefix("Value error, ")
    right = _right(section, location[-1]) if location else ""
    return f"{key}: {what}" + (f";{right}" if right else "")


def _right(section: type[BaseModel], key: str) -> str:
    """What would be right, as the end of a sentence; nothing where there is no example."""
    example = _example(section, key)
    if not example:
        return ""
    space = "" if example.startswith("\n") else " "
    return f" right would be, for example:{space}{example}"


def _section(location: list[str]) -> type[BaseModel] | None:
    if len(location) != 1 or location[0] not in SyncConfig.model_fields:
        return None
    annotation = SyncConfig.model_fields[location[0]].annotation
    return annotation if isinstance(annotation, type) else None


def _example(section: type[BaseModel], key: str) -> str:
    """``key = value``, or a table from its own line on, ready to be pasted."""
    field = section.model_fields.get(key)
    if field is None:
        return ""
    inner = _section([key]) if section is SyncConfig else None
    if inner is not None:
        lines = [_example(inner, name) for name in inner.model_fields]
        return "\n".join(["", f"    [{key}]", *(f"    {line}" for line in lines if line)])
    value = field.examples[0] if field.examples else field.default
    if value is None or (field.is_required() and not field.examples):
        return ""
    return f"{key} = {json.dumps(value)}"  # numbers, texts and lists of texts: TOML's, too


EXAMPLE = """\
# The centre of Now Serving.

[mqtt]
host = "127.0.0.1"
port = 1883
username = "centre"
password_file = "/run/credentials/nowserving-sync.service/mqtt-password"

[store]
path = "/var/lib/nowserving-sync/centre.db"

[page]
host = "127.0.0.1"
port = 8090
websocket_port = 9001
password_file = "/run/credentials/nowserving-sync.service/dashboards-password"
"""
