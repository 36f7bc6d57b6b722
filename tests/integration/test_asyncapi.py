"""``asyncapi.yaml`` and the reference page say what ``contract`` says, and are valid."""

import inspect
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from contract import topics
from contract.events import EVENT_TYPES
from tools.asyncapi import document
from tools.asyncapi.__main__ import ROOT, drift, generated, main

TOOL = ROOT / "tools" / "asyncapi"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
    return loaded


def test_the_generated_documents_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_a_drift_is_shown_line_by_line(path: Path) -> None:
    changed = generated()[path].replace("hall.ticket.called.v1", "hall.ticket.called.v2")

    assert "+### `hall.ticket.called.v2`" in drift(path, changed) or (
        "+      title: hall.ticket.called.v2" in drift(path, changed)
    )


def test_every_event_type_is_a_message_of_the_events_channel(published: dict[str, Any]) -> None:
    messages = published["components"]["messages"]

    sent = {messages[name]["title"] for name in published["channels"]["events"]["messages"]}

    assert sent == set(EVENT_TYPES)


def test_every_topic_is_a_channel(published: dict[str, Any]) -> None:
    made = [
        function("{hall}", *["{command}"] * (len(inspect.signature(function).parameters) - 1))
        for name, function in inspect.getmembers(topics, inspect.isfunction)
        if name not in {"hall_of", "commands"}  # a parser, and a filter
    ]

    addresses = [channel["address"] for channel in published["channels"].values()]

    assert sorted(addresses) == sorted([*made, topics.NETWORK])


def test_every_channel_has_one_sender_and_a_receiver(published: dict[str, Any]) -> None:
    actions: dict[str, list[str]] = {name: [] for name in published["channels"]}
    for operation in published["operations"].values():
        actions[operation["channel"]["$ref"].rsplit("/", 1)[1]].append(operation["action"])

    assert all(sorted(found) == ["receive", "send"] for found in actions.values()), actions


def _problems(published: dict[str, Any], message: dict[str, Any], payload: Any) -> list[str]:
    """What the published schema of the message finds wrong with the payload."""
    schema = {**message["payload"], "components": published["components"]}
    checker = jsonschema.Draft7Validator(
        schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )
    return [error.message for error in checker.iter_errors(payload)]


@pytest.mark.parametrize("name", sorted(document.build()["components"]["messages"]))
def test_what_is_really_sent_fits_the_published_schema(
    name: str, published: dict[str, Any]
) -> None:
    message = published["components"]["messages"][name]

    assert message["examples"]
    for example in message["examples"]:
        assert _problems(published, message, example["payload"]) == []


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("number", "A-12"), ("window", 0), ("tier", "royal"), ("business_day", "today")],
)
def test_a_payload_that_breaks_the_contract_does_not_fit(
    field: str, wrong: Any, published: dict[str, Any]
) -> None:
    message = published["components"]["messages"]["TicketCalled"]
    payload = message["examples"][0]["payload"]

    assert _problems(published, message, {**payload, "data": {**payload["data"], field: wrong}})


def test_an_event_under_the_name_of_another_does_not_fit(published: dict[str, Any]) -> None:
    messages = published["components"]["messages"]
    rated = messages["TicketRated"]["examples"][0]["payload"]

    assert _problems(published, messages["TicketUnrated"], rated)


# --- the official parser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parser() -> list[str]:
    """The command that runs AsyncAPI's own parser, installed on first use."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is not installed: AsyncAPI's own parser can't run")
    installed = TOOL / "node_modules" / ".package-lock.json"
    wanted = TOOL / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        subprocess.run([npm, "ci", "--no-progress"], cwd=TOOL, check=True, timeout=300)
    return [node, str(TOOL / "validate.mjs")]


def test_the_official_parser_takes_the_document(parser: list[str]) -> None:
    run = subprocess.run(
        [*parser, ROOT / "asyncapi.yaml"], capture_output=True, text=True, check=False, timeout=60
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert f"8 channels, 16 operations, {len(EVENT_TYPES) + 7} messages" in run.stdout


def test_the_official_parser_refuses_a_broken_reference(parser: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    text = (ROOT / "asyncapi.yaml").read_text()
    broken.write_text(text.replace("$ref: '#/channels/ack'", "$ref: '#/channels/nack'"))

    run = subprocess.run([*parser, broken], capture_output=True, text=True, check=False, timeout=60)

    assert run.returncode == 1
    assert "nack" in run.stdout
