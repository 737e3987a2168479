from __future__ import annotations

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_data import write_image

from mmseg_uda.errors import UserError
from mmseg_uda.labels import Header, read_header, read_headers, read_image, read_label
from mmseg_uda.labels.headers import upright

RASTER = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)


def write_bits(path, ids, bits):
    """Writes a grey PNG with 1, 2 or 4 bits per pixel, which Pillow cannot write."""

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    rows = b""
    for row in ids:
        digits = np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()
        rows += b"\0" + np.packbits(digits).tobytes()
    height, width = ids.shape
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_ids_of_few_bits_are_not_stretched(tmp_path, bits):
    ids = RASTER % 2**bits
    write_bits(tmp_path / "a.png", ids, bits)
    assert read_header(str(tmp_path / "a.png")).bits == bits
    assert np.array_equal(read_label(str(tmp_path / "a.png")), ids)


def test_pixel_types(tmp_path):
    deep = RASTER.astype(np.uint16) * 257
    files = {
        "grey.png": (RASTER, "L", 8),
        "deep.png": (deep, "I;16", 16),
        "deep_colour.png": (np.dstack([deep] * 3), "RGB", 16),
        "deep_colour.tif": (np.dstack([deep] * 3), "RGB", 16),
        "float.tif": (RASTER.astype(np.float32), "F", 32),
        "colour.jpg": (np.dstack([RASTER] * 3), "RGB", 8),
    }
    for name, (pixels, mode, bits) in files.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        header = read_header(str(tmp_path / name))
        assert (header.width, header.height, header.mode, header.bits) == (9, 6, mode, bits), name


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_header_says(tmp_path, orientation, suffix):
    """Training, inference and the comparison of sizes see one picture."""
    path = str(tmp_path / f"a{suffix}")
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:8, :8], picture[8:, 24:] = 255, 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, exif=exif)
    header = read_header(path)
    read = read_image(path)
    assert read.shape[:2] == header.shape == ((16, 32) if orientation < 5 else (32, 16))
    if suffix == ".png":
        assert np.array_equal(read, upright(picture, orientation))
        assert header == Header(32, 16, "RGB", 8, "PNG", orientation)


def test_what_is_no_image(tmp_path):
    write_image(tmp_path / "image.png", 4, 5)
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.png").write_text("<html>404</html>")
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid 1\n")
    os.mkfifo(tmp_path / "pipe.png")
    names = ("image", "missing", "empty", "page", "pointer", "pipe")
    first, *errors = read_headers([f"{tmp_path}/{name}.png" for name in names], "Reading")
    assert first == Header(5, 4, "RGB", 8, "PNG")
    texts = ("is missing", "has 0 bytes", "is no image", "pointer of Git LFS", "is a named pipe")
    for name, text, error in zip(names[1:], texts, errors, strict=True):
        assert isinstance(error, UserError)
        assert f"{name}.png" in error.message and text in error.message and error.fix


def test_floating_point_images_are_not_called_damaged(tmp_path):
    path = str(tmp_path / "a.tif")
    cv2.imwrite(path, np.dstack([RASTER.astype(np.float32)] * 3))
    with pytest.raises(UserError, match=r"a\.tif has pixels of type float32"):
        read_image(path)


@pytest.mark.parametrize(("mode", "advice"), [("I;16", "8 bits"), ("RGB", "coloured")])
def test_labels_of_other_types_are_answered(tmp_path, mode, advice):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=rf"(?s)a\.png has pixels of type {mode}.*{advice}"):
        read_label(str(tmp_path / "a.png"))
