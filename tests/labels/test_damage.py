"""Damage that decoders hide, images that claim too much, and what is no file at all."""

import os
import time

import cv2
import numpy as np
import photographs
import pytest
from photographs import NO_FILES, encoded, photograph

from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_depth, read_image, read_label

SMOOTH = np.full((256, 256, 3), 130, np.uint8)
JPEGS = {
    "baseline": encoded("JPEG", quality=90),
    "progressive": encoded("JPEG", quality=90, progressive=True),
    "optimized": encoded("JPEG", quality=70, optimize=True),
    "restart": encoded("JPEG", quality=90, restart_marker_rows=1),
    "grey": encoded("JPEG", photograph()[..., 0]),
    "thumbnail": encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0" + encoded("JPEG", SMOOTH)),
}
WEBPS = {
    "lossy": encoded("WEBP", quality=85),
    "lossless": encoded("WEBP", lossless=True),
    "alpha": encoded("WEBP", np.dstack([photograph(), photograph()[..., 0]])),
    "with metadata": encoded("WEBP", exif=b"Exif\0\0" + bytes(50)),
}
OTHERS = {
    "png": encoded("PNG"),
    "tiff": encoded("TIFF", compression="tiff_adobe_deflate"),
    "bmp": encoded("BMP"),
    "ppm": encoded("PPM"),
}
# What a reading training notices, and what only a thorough search does.
VISIBLE = ("cut", "without_end", "zeroed_tail", "noisy_tail")
HIDDEN = ("zeroed_middle", "closed_after_cut")


def written(tmp_path, data):
    path = tmp_path / "image"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("harm", VISIBLE)
@pytest.mark.parametrize("kind", JPEGS)
def test_a_damaged_jpeg_is_refused(tmp_path, kind, harm):
    path = written(tmp_path, getattr(photographs, harm)(JPEGS[kind]))
    with pytest.raises(UserError, match=f"{path} cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize("harm", HIDDEN)
@pytest.mark.parametrize("kind", JPEGS)
def test_damage_in_a_jpeg_is_found(tmp_path, kind, harm):
    path = written(tmp_path, getattr(photographs, harm)(JPEGS[kind]))
    with pytest.raises(UserError, match=f"{path} cannot be decoded"):
        read_image(path, thorough=True)


@pytest.mark.parametrize("harm", ["cut", "without_end", "zeroed_tail"])
@pytest.mark.parametrize("kind", WEBPS)
def test_a_damaged_webp_is_refused(tmp_path, kind, harm):
    data = WEBPS[kind]
    if kind == "with metadata":  # which lie behind the pixels
        data = data[: data.rindex(b"EXIF")]
    path = written(tmp_path, getattr(photographs, harm)(data))
    with pytest.raises(UserError, match=f"{path} cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize("harm", ["zeroed_middle", "noisy_tail"])
@pytest.mark.parametrize("kind", ["lossy", "lossless"])
def test_damage_in_a_webp_is_found(tmp_path, kind, harm):
    path = written(tmp_path, getattr(photographs, harm)(WEBPS[kind]))
    with pytest.raises(UserError, match=f"{path} cannot be decoded"):
        read_image(path, thorough=True)


@pytest.mark.parametrize("harm", ["cut", "without_end"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_cut_files_are_refused(tmp_path, kind, harm):
    path = written(tmp_path, getattr(photographs, harm)(OTHERS[kind]))
    with pytest.raises(UserError, match=path):
        read_image(path)


@pytest.mark.parametrize("harm", ["zeroed_tail", "zeroed_middle", "noisy_tail"])
@pytest.mark.parametrize("read", [read_image, read_label])
def test_a_damaged_png_is_refused(tmp_path, read, harm):
    data = encoded("PNG", photograph()[..., 0])
    path = written(tmp_path, getattr(photographs, harm)(data))
    with pytest.raises(UserError, match=path):
        read(path)


def test_a_wrong_check_sum_of_a_png(tmp_path):
    data = bytearray(encoded("PNG"))
    data[-13] ^= 1  # the last byte of the pixels' check sum
    with pytest.raises(UserError, match="image cannot be decoded.*IDAT is not whole"):
        read_image(written(tmp_path, bytes(data)))


def test_a_hole_in_a_compressed_tiff_is_found(tmp_path):
    data = photographs.zeroed_middle(cv2.imencode(".tiff", photograph())[1].tobytes())
    with pytest.raises(UserError, match="image cannot be decoded.*its decoder says"):
        read_image(written(tmp_path, data), thorough=True)


def _jpeg_of(picture, **options):
    return {f"JPEG {n}": encoded("JPEG", picture, **o, **options) for n, o in enumerate(ENCODINGS)}


ENCODINGS = (
    {},
    dict(optimize=True),
    dict(progressive=True),
    dict(progressive=True, subsampling=0),
    dict(quality=1),
    dict(quality=100, restart_marker_blocks=2),
)
SOUND = {
    **JPEGS,
    **WEBPS,
    **OTHERS,
    **{f"smooth {name}": data for name, data in _jpeg_of(SMOOTH).items()},
    **{f"tiny {name}": data for name, data in _jpeg_of(SMOOTH[:3, :5]).items()},
    "smooth lossy": encoded("WEBP", SMOOTH),
    "smooth lossless": encoded("WEBP", SMOOTH, lossless=True),
    "smooth, fast": encoded("WEBP", np.full((2048, 2048, 3), 9, np.uint8), method=0),
    "tiny lossy": encoded("WEBP", SMOOTH[:1, :1]),
    "tiny lossless": encoded("WEBP", SMOOTH[:1, :1], lossless=True),
    "bytes behind the end": JPEGS["baseline"] + bytes(3000) + b"SEFT\xff\xd8\xff",
    "a film behind the end": JPEGS["progressive"] + np.random.default_rng(2).bytes(5000),
    "two views": encoded("MPO", save_all=True, append_images=[]) + JPEGS["baseline"],
    "an end in a comment": b"\xff\xd8\xff\xfe\0\x06\xff\xd9\xff\xd9" + JPEGS["baseline"][2:],
    "fill bytes": JPEGS["baseline"][:-2] + b"\xff\xff\xff\xd9",
    "padding before the end": JPEGS["baseline"][:-2] + bytes(8) + b"\xff\xd9",
    "webp and more": WEBPS["lossy"] + b"more",
    "png and more": OTHERS["png"] + b"more",
    "deep png": cv2.imencode(".png", photograph().astype(np.uint16) * 256)[1].tobytes(),
    "blank bits": encoded("PNG", np.zeros((4096, 4096), bool)),
    "tiff without compression": encoded("TIFF"),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_files_are_read(tmp_path, kind):
    path = written(tmp_path, SOUND[kind])
    expected = cv2.imdecode(np.frombuffer(SOUND[kind], np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(read_image(path), expected)
    assert np.array_equal(read_image(path, thorough=True), expected)


def test_the_search_gives_the_error_output_back(tmp_path, capfd):
    damaged = written(tmp_path, photographs.zeroed_middle(JPEGS["baseline"]))
    with pytest.raises(UserError):
        read_image(damaged, thorough=True)
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"


CLAIMS = {
    "png": photographs.png_claim(100_000, 100_000),
    "png below the limits of libraries": photographs.png_claim(13_000, 13_000),
    "jpeg": photographs.jpeg_claim(60_000, 60_000),
    "jpeg below OpenCV's limit": photographs.jpeg_claim(30_000, 30_000),
    "progressive": photographs.jpeg_claim(30_000, 30_000, progressive=True),
    "gif": b"GIF89a" + (30_000).to_bytes(2, "little") * 2 + encoded("GIF")[10:],
}


@pytest.mark.parametrize("kind", CLAIMS)
@pytest.mark.parametrize("read", [read_image, read_label, read_depth])
def test_more_pixels_than_can_be(tmp_path, read, kind):
    path = written(tmp_path, CLAIMS[kind])
    start = time.monotonic()
    with pytest.raises(UserError, match=r"image cannot be decoded.*it claims \d+x\d+ pixels"):
        read(path)
    assert time.monotonic() - start < 1


def test_more_pixels_than_libraries_take(tmp_path):
    """A file may really hold them: Pillow and OpenCV have limits, and say so by exceptions."""
    path = written(tmp_path, b"P5 20000 20000 255 " + bytes(200_000))
    with pytest.raises(UserError, match="image cannot be decoded"):
        read_label(path)
    path = written(tmp_path, b"P5 50000 50000 255 " + bytes(400_000))
    with pytest.raises(UserError, match="image cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize("put", NO_FILES)
@pytest.mark.parametrize("read", [read_image, read_label, read_depth])
def test_what_is_no_file(tmp_path, read, put):
    path = tmp_path / "0.png"
    put(path)
    with pytest.raises(UserError, match=f"{path} .*{NO_FILES[put]}"):
        read(str(path))
