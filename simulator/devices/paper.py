"""What comes out of a ticket printer: pieces of paper, with text, QR codes and pictures on them."""

import base64
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Align = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class TextLine:
    """One printed line. Width and height are the largest multiples on it; bold if any of it is."""

    text: str
    width: int
    height: int
    bold: bool
    align: Align


@dataclass(frozen=True, slots=True)
class QrCode:
    text: str
    model: int
    module_dots: int
    level: str
    """``L``, ``M``, ``Q`` or ``H``."""
    align: Align


@dataclass(frozen=True)
class Raster:
    """A 1-bit picture, as sent: 8 dots in a byte, most significant bit left, 1 is black."""

    width: int
    """Dots, a multiple of 8."""
    height: int
    bits: bytes
    align: Align

    @cached_property
    def png(self) -> bytes:
        """A 1-bit greyscale PNG."""
        row_bytes = self.width // 8
        rows = bytearray()
        for top in range(0, len(self.bits), row_bytes):
            rows.append(0)
            rows += bytes(byte ^ 0xFF for byte in self.bits[top : top + row_bytes])
        header = struct.pack(">IIBBBBB", self.width, self.height, 1, 0, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + _png_chunk(b"IHDR", header)
            + _png_chunk(b"IDAT", zlib.compress(bytes(rows), 6))
            + _png_chunk(b"IEND", b"")
        )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


PaperItem = TextLine | QrCode | Raster


@dataclass(frozen=True)
class Paper:
    """What came out of the slot, from one cut to the next."""

    number: int
    """Counts up from 1, for every piece that came out of this printer."""
    items: tuple[PaperItem, ...]
    started_at: float
    finished_at: float
    """``loop.time()`` when the first and the last of it came out."""
    complete: bool
    """It was cut. Otherwise the printer lost the rest, and somebody tore this off."""
    interrupted: bool
    """The paper ran out on it, or the cover was opened, and it went on afterwards."""
    length_mm: float

    @property
    def text(self) -> str:
        return "\n".join(item.text for item in self.items if isinstance(item, TextLine))

    @property
    def qr_codes(self) -> tuple[str, ...]:
        return tuple(item.text for item in self.items if isinstance(item, QrCode))

    @property
    def rasters(self) -> tuple[Raster, ...]:
        return tuple(item for item in self.items if isinstance(item, Raster))

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """JSON-ready; pictures are ``data:`` URLs of PNGs."""
        return {
            "number": self.number,
            "items": [item_as_json(item) for item in self.items],
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "complete": self.complete,
            "interrupted": self.interrupted,
            "length_mm": round(self.length_mm, 1),
        }


def item_as_json(item: PaperItem) -> dict[str, Any]:
    """JSON-ready, with its ``kind``: ``text``, ``qr`` or ``raster``."""
    match item:
        case TextLine():
            return {
                "kind": "text",
                "text": item.text,
                "width": item.width,
                "height": item.height,
                "bold": item.bold,
                "align": item.align,
            }
        case QrCode():
            return {
                "kind": "qr",
                "text": item.text,
                "module_dots": item.module_dots,
                "level": item.level,
                "align": item.align,
            }
        case Raster():
            png = base64.b64encode(item.png).decode("ascii")
            return {
                "kind": "raster",
                "width": item.width,
                "height": item.height,
                "png": f"data:image/png;base64,{png}",
                "align": item.align,
            }
