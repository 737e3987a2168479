"""Pictures with texture, written by the common encoders, and what happens to files on disks."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib

import numpy as np
from PIL import Image


def photograph(height: int = 128, width: int = 192) -> np.ndarray:
    """RGB with texture in every block, so that each byte of a file stands for pixels."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 17 + y / 41), np.cos(y / 13), np.sin((x + y) / 21)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return (128 + 90 * waves + noise).clip(0, 255).astype(np.uint8)


def encoded(kind: str, picture: np.ndarray | None = None, **options) -> bytes:
    """The bytes of a file as Pillow writes it."""
    buffer = io.BytesIO()
    array = photograph() if picture is None else picture
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def cut(data: bytes) -> bytes:
    return data[: len(data) * 3 // 5]


def without_end(data: bytes) -> bytes:
    return data[:-2]


def zeroed_tail(data: bytes) -> bytes:
    kept = len(data) * 9 // 10
    return data[:kept] + bytes(len(data) - kept)


def zeroed_middle(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) // 5) + data[len(data) // 2 + len(data) // 5 :]


def noisy_tail(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + np.random.default_rng(1).bytes(len(data) - half)


def closed_after_cut(data: bytes) -> bytes:
    """Some programs put JPEG's end marker behind what they got."""
    return cut(data) + b"\xff\xd9"


def png_claim(width: int, height: int) -> bytes:
    """A PNG of about a kilobyte whose header tells of so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I4s", len(data), name) + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(900_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def jpeg_claim(width: int, height: int, **options) -> bytes:
    """A JPEG of less than a kilobyte whose header tells of so many pixels."""
    data = bytearray(encoded("JPEG", np.zeros((64, 64, 3), np.uint8), **options))
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def put_pipe(path) -> None:
    os.mkfifo(path)


def put_socket(path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # the address of a socket has to be short
        socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def put_device(path) -> None:
    path.symlink_to("/dev/zero")


def put_folder(path) -> None:
    path.mkdir()


def put_dangling_link(path) -> None:
    path.symlink_to(path.parent / "nowhere")


def put_loop(path) -> None:
    path.symlink_to(path)


NO_FILES = {
    put_pipe: "a named pipe",
    put_socket: "a socket",
    put_device: "a device",
    put_folder: "a folder",
    put_dangling_link: "a link to nothing",
    put_loop: "symbolic links",
}
