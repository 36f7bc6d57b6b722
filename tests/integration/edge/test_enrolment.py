"""What the documents say of connecting a hall is enough to connect it."""

import asyncio
import re
import tomllib
from pathlib import Path

import pytest

from cloud_sync.config import SyncConfig
from contract import topics
from contract.documents import HallReport
from contract.names import Language, Presence
from messaging.broker import Role, TlsListener
from messaging.session import connect
from simulator.ports import free_ports
from tests.support.broker import running_broker
from tests.support.certificates import make_certificates
from tests.support.real_hall import real_hall

ROOT = Path(__file__).parents[3]
USERS = {"centre": ("secret-of-the-centre", Role.CENTRE)}


def toml_in(path: str, having: str) -> str:
    """The page's TOML example that has this line."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / path).read_text(), flags=re.DOTALL)
    (block,) = [each for each in blocks if having in each.splitlines()]
    return str(block)


@pytest.mark.parametrize("page", ["broker-config/README.md", "systemd/README.md"])
async def test_a_hall_connects_with_the_example(page: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_certificates(keys, "ca", "server", "riverside")
    (keys / "riverside.crt").rename(keys / "hall.crt")
    (keys / "riverside.key").rename(keys / "hall.key")
    listener = TlsListener(
        free_ports(0)[0], keys / "ca.crt", keys / "server.crt", keys / "server.key", "127.0.0.1"
    )
    example = toml_in(page, "[uplink.tls]")
    uplink = example[example.index("[uplink]") :]
    uplink = uplink.replace("mqtt.example.com", "127.0.0.1").replace("/etc/nowserving", str(keys))
    uplink = uplink.replace("port = 8883", f"port = {listener.port}")
    async with (
        running_broker(tmp_path / "broker", USERS, listener) as broker,
        connect(broker.client("centre")) as centre,
        real_hall(tmp_path, extra=uplink) as hall,
        asyncio.timeout(30),
    ):
        await centre.subscribe(topics.STATES_OF_ALL)
        await hall.start()
        message = await anext(centre.messages())
    assert message.topic == topics.state("riverside")
    state = HallReport.model_validate_json(message.payload)
    assert state.presence is Presence.ONLINE
    assert state.name == {Language.ZH: "滨江营业厅", Language.EN: "Riverside"}
    assert state.service_names["payment"] == {Language.ZH: "缴费", Language.EN: "Payment"}


def test_the_centres_example_names_the_credentials_that_its_unit_loads() -> None:
    config = SyncConfig.model_validate(tomllib.loads(toml_in("systemd/README.md", "[store]")))
    unit = (ROOT / "systemd" / "nowserving-sync.service").read_text()
    loaded = re.findall(r"^LoadCredential=([a-z-]+):", unit, flags=re.MULTILINE)
    place = Path("/run/credentials/nowserving-sync.service")
    assert {config.mqtt.password_file, config.page.password_file} == {place / n for n in loaded}
