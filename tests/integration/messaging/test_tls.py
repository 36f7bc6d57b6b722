"""Halls by mutual TLS: the certificate's name is the hall's name."""

import asyncio
import getpass
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from messaging.broker import (
    PRODUCTION_USERS,
    TlsListener,
    hash_password,
    production_config,
    render_acl,
    render_config,
)
from messaging.session import MqttConfig, PublishRefused, SessionLost, TlsConfig, connect
from simulator.ports import free_ports
from tests.support.broker import USERS, mosquitto_path, running_broker
from tests.support.certificates import make_certificates


async def test_a_hall_is_who_its_certificate_says(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_certificates(keys, "ca", "server", "hall-a")
    make_certificates(keys, "stranger", "hall-b")
    port = free_ports(0)[0]
    listener = TlsListener(
        port, keys / "ca.crt", keys / "server.crt", keys / "server.key", address="127.0.0.1"
    )
    hall = MqttConfig(
        host="127.0.0.1",
        port=port,
        client_id="hall-a",
        tls=TlsConfig(keys / "ca.crt", keys / "hall-a.crt", keys / "hall-a.key"),
        timeout_seconds=5,
    )
    async with running_broker(tmp_path / "broker", USERS, listener) as broker:
        async with connect(hall) as session, connect(broker.client("centre")) as centre:
            await centre.subscribe("halls/+/v1/events")
            # Much in one go: TLS records and packets do not fit each other.
            big = bytes(200_000)
            for _ in range(5):
                await session.publish("halls/hall-a/v1/events", big)
            messages = centre.messages()
            assert [len((await anext(messages)).payload) for _ in range(5)] == [len(big)] * 5
            with pytest.raises(PublishRefused):
                await session.publish("halls/hall-b/v1/events", b"forged")

        stranger = TlsConfig(keys / "ca.crt", keys / "hall-b.crt", keys / "hall-b.key")
        nobody = TlsConfig(keys / "ca.crt")
        wrong_broker = TlsConfig(keys / "stranger.crt", keys / "hall-a.crt", keys / "hall-a.key")
        for tls in (stranger, nobody, wrong_broker):
            with pytest.raises(SessionLost):
                async with connect(replace(hall, tls=tls)):
                    pass


DEBIANS_OWN_FILE = """
pid_file {folder}/mosquitto.pid
persistence true
persistence_location {folder}/
log_dest file {folder}/mosquitto.log
include_dir {folder}/conf.d
"""


async def test_the_production_file_works_beside_debians_own(tmp_path: Path) -> None:
    """With its places and ports replaced, and nothing else."""
    production = production_config()
    assert production.tls is not None
    places = tmp_path / "nowserving"
    make_certificates(places, "ca", "server", "hall-a")
    text = render_config(production).replace(str(production.directory), str(places))
    ports = {}
    for port in (production.port, production.websocket_port, production.tls.port):
        ports[port] = free_ports(0)[0]
        text = text.replace(f"listener {port} ", f"listener {ports[port]} ")
    (places / "acl").write_text(render_acl(PRODUCTION_USERS))
    (places / "passwords").write_text(f"centre:{hash_password('c')}\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "nowserving.conf").write_text(text)
    main = tmp_path / "mosquitto.conf"
    me = getpass.getuser()
    main.write_text(DEBIANS_OWN_FILE.format(folder=tmp_path) + f"user {me}\n")
    broker = subprocess.Popen([mosquitto_path(), "-c", str(main)])  # noqa: ASYNC220
    try:
        centre = MqttConfig("127.0.0.1", ports[production.port], "centre", "centre", "c")
        tls = TlsConfig(places / "ca.crt", places / "hall-a.crt", places / "hall-a.key")
        hall = MqttConfig("127.0.0.1", ports[production.tls.port], "hall-a", tls=tls)
        async with asyncio.timeout(20):
            while True:
                try:
                    async with connect(centre) as session, connect(hall) as other:
                        await session.subscribe("halls/+/v1/events")
                        await other.publish("halls/hall-a/v1/events", b"here")
                        assert (await anext(session.messages())).payload == b"here"
                    break
                except SessionLost:  # not listening yet
                    assert broker.poll() is None
                    await asyncio.sleep(0.05)
    finally:
        broker.terminate()
        await asyncio.to_thread(broker.wait, 20)
