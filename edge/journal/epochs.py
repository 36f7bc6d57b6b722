"""An event under another number: for a journal that begins a new epoch."""

import json
from typing import Any

from contract.envelope import SEQUENCE_DIGITS
from contract.names import Epoch

_DATA = ', "data": '


def relabel(body: str, epoch: Epoch, seq: int) -> str:
    """The text of an event, as ``contract.envelope.to_json`` wrote it, with its new number."""
    head_text, data = body.split(_DATA, 1)
    head: dict[str, Any] = json.loads(head_text + "}")
    head |= {"id": f"{epoch}.{seq}", "sequence": f"{seq:0{SEQUENCE_DIGITS}}", "epoch": epoch}
    return f"{json.dumps(head)[:-1]}{_DATA}{data}"
