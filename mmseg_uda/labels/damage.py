"""What shows that an image file is damaged although its decoder is content with it.

Decoders of photographs fill what is missing with grey, and take zeros or noise for pixels. The
cheap signs are looked at whenever an image is read; a thorough search decodes once more and listens
to what the decoder prints.
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

PNG, JPEG, GIF, RIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF"
# A byte of compressed data stands for so many pixels at most: deflate makes 1032 bytes of one, a
# pixel of PNG has at least one bit; JPEG needs a bit for each block of 8x8; GIF's longest code has
# 12 bits and 4095 pixels.
MOST_PIXELS = {PNG: 1032 * 8, JPEG: 64 * 8, GIF: 2730}

# A marker that is neither a stuffed byte nor a restart in the middle of pixels.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END, _PIXELS, _START = 0xD9, 0xDA, 0xD8
# Sizes are in the frame headers SOF0 to SOF15, without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BETWEEN_SCANS = frozenset((0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)))

TAIL = 32  # bytes of a WebP image that a decoder cannot do without
PADDING = 16  # bytes that some cameras leave between pixels and end
_COMPLAINT = re.compile(
    r"Corrupt JPEG data.*|Premature end of JPEG.*|\[ERROR:.*|Stream does not end with EOC"
)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")


def visible_fault(data: bytes) -> str | None:
    """Returns what is wrong with an image file, as far as its structure tells; takes no decoding.

    Args:
        data: Content of the file; formats that are not known are taken for whole.
    """
    if data.startswith(JPEG):
        return _jpeg_fault(data)
    if data.startswith(PNG):
        return _png_fault(data)
    if data.startswith(GIF) and len(data) >= 10:
        return _claim(GIF, struct.unpack("<HH", data[6:10]), len(data))
    image = _webp_image(data)
    if image is not None and not any(image[-TAIL:]) and _ends_early(image):
        return "its end is zeros"
    return None


def hidden_fault(data: bytes, complaints: str) -> str | None:
    """Returns what is wrong with an image file that could be decoded.

    Args:
        data: Content of the file.
        complaints: What the decoder printed.
    """
    for text in _COMPLAINT.findall(complaints):
        padding = _EXTRANEOUS.search(text)
        if padding is None or int(padding[1]) >= PADDING:
            return f"its decoder says '{text.strip()[:200]}'"
    image = _webp_image(data)
    if image is not None and _ends_early(image):
        return "its last bytes belong to no pixel"
    return None


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collects what libraries print to the error output meanwhile; for one thread at a time.

    Yields:
        A list that holds the text at the end of the block.
    """
    heard: list[str] = []
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            heard.append(file.read().decode("utf-8", errors="replace"))


def _claim(kind: bytes, pixels: tuple[int, int], size: int) -> str | None:
    width, height = pixels
    if width * height <= MOST_PIXELS[kind] * size:
        return None
    return f"it claims {width}x{height} pixels, which cannot be in {size} bytes"


def _png_fault(data: bytes) -> str | None:
    """Walks from chunk to chunk; check sums count where a decoder cannot do without the chunk."""
    view, start = memoryview(data), len(PNG)
    while start + 12 <= len(data):
        size, name = struct.unpack(">I4s", view[start : start + 8])
        start, end = start + 8, start + 8 + size
        if name == b"IHDR" and len(data) >= start + 8:
            claim = _claim(PNG, struct.unpack(">II", view[start : start + 8]), len(data))
            if claim is not None:
                return claim
        checksum = int.from_bytes(view[end : end + 4], "big")
        # Pillow does not compare it, and takes whatever it finds for pixels.
        if name[:1].isupper() and checksum != zlib.crc32(view[start - 4 : end]):
            return f"its part {name.decode('ascii', 'replace')} is not whole"
        if name == b"IEND":
            return None
        start = end + 4
    return "its end is missing"


def _jpeg_fault(data: bytes) -> str | None:
    """Walks from marker to marker (ITU-T T.81, annex B) up to the end of the first image."""
    position, in_pixels = 2, False
    while found := _MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == _END:
            return None
        if in_pixels and marker not in _BETWEEN_SCANS:
            return f"there is a marker {marker:#x} in the middle of its pixels"
        if marker == _START:
            continue
        if marker in _FRAMES and len(data) >= position + 7:
            height, width = struct.unpack(">HH", data[position + 3 : position + 7])
            fault = _claim(JPEG, (width, height), len(data))
            if fault is not None:
                return fault
        in_pixels = in_pixels or marker == _PIXELS
        position += int.from_bytes(data[position : position + 2], "big")
    return "its end is missing"


def _webp_image(data: bytes) -> bytes | None:
    """The chunk that holds the pixels of a WebP file; None for another file or an animation."""
    if not (data.startswith(RIFF) and data[8:12] == b"WEBP"):
        return None
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack("<4sI", data[position : position + 8])
        if name in (b"VP8 ", b"VP8L"):
            return data[position : position + 8 + size]
        position += 8 + size + size % 2
    return None


def _ends_early(image: bytes) -> bool:
    """Whether all pixels of a WebP chunk are decoded before its last bytes are read.

    The decoder stops as soon as it has all pixels, and the encoder writes nothing after them: what
    is left over is a sign that it read something else than was written.
    """
    size = len(image) - 8 - TAIL
    size -= size % 2
    short = struct.pack("<4sI", image[:4], max(size, 0)) + image[8 : 8 + size]
    file = RIFF + struct.pack("<I", 4 + len(short)) + b"WEBP" + short
    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) is not None
