"""What halls sent and could not be placed, printed for a person."""

import asyncio
from pathlib import Path

import pytest

from cloud_sync import cli
from contract import topics
from messaging.session import connect
from tests.support.broker import Broker
from tests.support.centre import running_centre


async def test_dead_letters_are_printed_while_the_service_runs_and_command_no_terminal(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_centre(tmp_path / "centre", broker) as centre:
        for hall in ("hall-a", "hall-b"):
            async with connect(broker.client(hall)) as session:
                await session.publish(topics.events(hall), b'{"\x1b[2J": "\\u001b[2J"}')
        command = ["dead-letters", "--config", str(centre.config)]
        async with asyncio.timeout(20):
            said = ""
            while said.count("halls/hall-") < 2:
                assert cli.main(command) == 0
                said = capsys.readouterr().out
                await asyncio.sleep(0.05)
        assert "\x1b" not in said
        assert cli._plain("a\x1b[2J") == "a\N{REPLACEMENT CHARACTER}[2J"
        assert cli.main([*command, "--hall", "hall-b", "--last", "1"]) == 0
        said = capsys.readouterr().out
        assert "halls/hall-b/v1/events" in said
        assert "hall-a" not in said
    with pytest.raises(SystemExit):
        cli.main([*command, "--last", "0"])
    assert "is not a number from 1" in capsys.readouterr().err
