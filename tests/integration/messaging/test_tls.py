"""Halls by mutual TLS: the certificate's name is the hall's name."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from messaging.broker import TlsListener
from messaging.session import MqttConfig, PublishRefused, SessionLost, TlsConfig, connect
from tests.support.broker import USERS, free_port, running_broker


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_certificates(folder: Path, ca: str, *names: str) -> None:
    """A certificate authority and what it signed, as broker-config/README.md says."""
    folder.mkdir(exist_ok=True)
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", f"/CN={ca}"),
        *("-keyout", f"{folder}/{ca}.key", "-out", f"{folder}/{ca}.crt"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    extensions = folder / "extensions"
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"
    )
    for name in names:
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}"),
            *("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr"),
        )
        openssl(
            *("x509", "-req", "-in", f"{folder}/{name}.csr", "-days", "2"),
            *("-CA", f"{folder}/{ca}.crt", "-CAkey", f"{folder}/{ca}.key", "-CAcreateserial"),
            *("-extfile", str(extensions), "-out", f"{folder}/{name}.crt"),
        )


async def test_a_hall_is_who_its_certificate_says(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_certificates(keys, "ca", "server", "hall-a")
    make_certificates(keys, "stranger", "hall-b")
    port = free_port()
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
