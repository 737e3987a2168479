"""Reading image and label files, with errors that name the file."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_bytes
from mmseg_uda.system_errors import NO_MEMORY

from .damage import hidden_fault, listening, visible_fault
from .headers import COPY_AGAIN, FORMATS, TURNED, bits_of, read_header, upright
from .ids import LabelIds

LABEL_MODES = ("L", "P", "1")
GREY_STEPS = {2: 85, 4: 17}
"""Pillow stretches grey values of so few bits to 0..255; an id is what the file holds."""


def read_image(path: str, thorough: bool = False) -> np.ndarray:
    """Reads an image as BGR, turned upright as the camera marked it (EXIF orientation).

    Training and inference see the same picture. A label that was drawn on the stored raster is
    turned with it (:func:`to_train_ids`).

    Args:
        path: Image file.
        thorough: Also search for damage that decoders hide, at about twice the time; it takes the
            error output of the process, so one thread at a time may do it.

    Returns:
        uint8, (h, w, 3).

    Raises:
        UserError: The file is missing, truncated or no image.
    """
    data = read_whole(path)
    if not thorough:
        return decode(data, path, cv2.IMREAD_COLOR)
    with listening() as heard:
        image = decode(data, path, cv2.IMREAD_COLOR)
    _refuse(path, hidden_fault(data, heard[0]))
    return image


def read_whole(path: str | Path) -> bytes:
    """Returns the content of an image file whose structure shows no damage.

    Raises:
        UserError: It is missing, no file, or damaged.
    """
    data = read_bytes(path, COPY_AGAIN)
    _refuse(path, visible_fault(data))
    return data


def decode(data: bytes, path: str | Path, flags: int) -> np.ndarray:
    """Decodes the content of an image file as OpenCV does: (H, W) or (H, W, 3), its own dtype.

    Raises:
        UserError: It is truncated or no image, or has more pixels than OpenCV or the memory takes.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(f"{path}: {error.err}") from error
        raise UserError(
            f"{path} cannot be decoded; OpenCV says '{str(error.err or error).strip()}'.",
            fix=f"{COPY_AGAIN}, or make it smaller.",
        ) from error
    if image is None and data and flags != cv2.IMREAD_UNCHANGED:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if raw is not None:
            raise UserError(
                f"{path} has pixels of type {raw.dtype}, not 8- or 16-bit integers.",
                fix="Save the image with 8 bits per channel.",
            )
    if image is None:
        raise UserError(f"{path} cannot be decoded: truncated or damaged.", fix=COPY_AGAIN)
    return image


def read_depth(path: str) -> np.ndarray:
    """Reads a depth map; of several equal channels (a grey picture) one is kept.

    Returns:
        uint8 or uint16, (h, w).

    Raises:
        UserError: The file is missing or damaged, its channels differ (a picture of depth in false
            colours), or its pixels are no 8- or 16-bit integers.
    """
    depth = decode(read_whole(path), path, cv2.IMREAD_UNCHANGED)
    if depth.ndim == 3:
        if (depth[..., :1] != depth[..., 1:3]).any():
            raise UserError(
                f"{path} has colours: it shows depth in false colours instead of holding it.",
                fix="Use grey depth maps; tools/render_depth.py makes them.",
            )
        depth = np.ascontiguousarray(depth[..., 0])
    if depth.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path} has pixels of type {depth.dtype}, not 8- or 16-bit integers.",
            fix="Use relative inverse depth from 0 (far) to 255 or 65535 (near).",
        )
    return depth


def read_label(path: str) -> np.ndarray:
    """Reads a label file with one id of 8 bits or less per pixel; a palette's index is the id.

    Returns:
        uint8, (h, w).

    Raises:
        UserError: The file is missing, truncated, or has other than one channel of up to 8 bits.
    """
    data = read_whole(path)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.mode not in LABEL_MODES:
                raise no_label(path, image.mode)
            scale = GREY_STEPS.get(bits_of(image), 1) if image.mode == "L" else 1
            label = np.array(image).astype(np.uint8, copy=False)
            return label if scale == 1 else label // scale
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is no image, or a damaged one.", fix=COPY_AGAIN) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if NO_MEMORY.search(str(error)):
            raise MemoryError(f"{path}: {error}") from error
        raise UserError(f"{path} cannot be decoded: {error}.", fix=COPY_AGAIN) from error


def read_train_ids(
    path: str, ids: LabelIds, shape: tuple[int, int] | None, image: str | None = None
) -> np.ndarray:
    """Reads a label file and maps its ids to trainIds.

    Args:
        path: Label file.
        ids: What the ids in the file stand for.
        shape: (height, width) of the image; None skips the comparison.
        image: Image file. A label that was drawn on its stored raster is turned upright with it.

    Returns:
        uint8, (h, w).

    Raises:
        UserError: The file is damaged, differs from the image in size, or holds an id outside the
            taxonomy.
    """
    return to_train_ids(read_label(path), path, ids, shape, image)


def to_train_ids(
    label: np.ndarray,
    path: str,
    ids: LabelIds,
    shape: tuple[int, int] | None,
    image: str | None = None,
) -> np.ndarray:
    """Maps the ids of a label that was read to trainIds; see :func:`read_train_ids`."""
    if shape is not None and label.shape != tuple(shape):
        label = _turned(label, tuple(shape), image)
    if shape is not None and label.shape != tuple(shape):
        raise UserError(
            f"{path} has {label.shape[1]}x{label.shape[0]} pixels, its image has "
            f"{shape[1]}x{shape[0]}.",
            fix="Remove image and label, or replace them by files of equal size.",
        )
    present = np.flatnonzero(count_ids(label))
    outside = ids.outside(present)
    if outside.size:
        raise ids.error(path, int(outside[0]))
    return label if np.array_equal(ids.lookup[present], present) else ids.lookup[label]


def no_label(path: str, mode: str) -> UserError:
    """Returns the error for a label file with other than one 8-bit id per pixel.

    Args:
        path: Label file.
        mode: Its pixel type as Pillow calls it.
    """
    if mode.startswith(("I", "F")):
        fix = "Save the ids with 8 bits per pixel; only ids up to 255 can stand for classes."
    else:
        fix = (
            "Use files of ids, not coloured pictures of labels; for published data sets "
            "tools/convert_datasets makes them."
        )
    return UserError(f"{path} has pixels of type {mode}, not one 8-bit id per pixel.", fix=fix)


def _turned(label: np.ndarray, shape: tuple[int, ...], image: str | None) -> np.ndarray:
    """The label of an image that is marked as lying on its side, if it lies there, too."""
    if image is None or label.shape != shape[::-1]:
        return label
    orientation = read_header(image).orientation
    return upright(label, orientation) if orientation in TURNED else label


def count_ids(label: np.ndarray) -> np.ndarray:
    """Counts the pixels of each id; int64, (256,). Exact up to 2**24 pixels per id."""
    # Twice as fast as numpy's bincount, which first converts every pixel to 64 bits.
    return cv2.calcHist([label], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def _refuse(path: str | Path, fault: str | None) -> None:
    if fault is not None:
        raise UserError(
            f"{path} cannot be decoded: truncated or damaged ({fault}).", fix=COPY_AGAIN
        )
