"""A certificate authority and what it signed, as broker-config/README.md says."""

import subprocess
from pathlib import Path


def make_certificates(folder: Path, ca: str, *names: str) -> None:
    """``{ca}.crt`` and, for each name, ``{name}.crt`` and ``{name}.key``. The name is the CN."""
    folder.mkdir(exist_ok=True)
    _openssl(
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
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}"),
            *("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr"),
        )
        _openssl(
            *("x509", "-req", "-in", f"{folder}/{name}.csr", "-days", "2"),
            *("-CA", f"{folder}/{ca}.crt", "-CAkey", f"{folder}/{ca}.key", "-CAcreateserial"),
            *("-extfile", str(extensions), "-out", f"{folder}/{name}.crt"),
        )


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
