"""Reading image and label files, with errors that name the file."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_bytes

from .damage import hidden_fault, listening, visible_fault

_COPY_AGAIN = "copy or download the file again"


def read_image(path: str, upright: bool = False, thorough: bool = False) -> np.ndarray:
    """Reads an image as BGR.

    Args:
        path: Image file.
        upright: Turn photographs as the camera marked them (EXIF); labels are not turned, so data
            sets are read without.
        thorough: Also search for damage that decoders hide, at about twice the time; it takes the
            error output of the process, so one thread at a time may do it.

    Returns:
        uint8, (h, w, 3).

    Raises:
        UserError: The file is missing, truncated or no image.
    """
    data = read_whole(path)
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if not thorough:
        return decode(data, path, flags)
    with listening() as heard:
        image = decode(data, path, flags)
    _refuse(path, hidden_fault(data, heard[0]))
    return image


def read_whole(path: str | Path) -> bytes:
    """Returns the content of an image file whose structure shows no damage.

    Raises:
        UserError: It is missing, no file, or damaged.
    """
    data = read_bytes(path, _COPY_AGAIN)
    _refuse(path, visible_fault(data))
    return data


def decode(data: bytes, path: str | Path, flags: int) -> np.ndarray:
    """Decodes the content of an image file as OpenCV does.

    Raises:
        UserError: It is truncated or no image, or has more pixels than OpenCV or the memory takes.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise UserError(
            f"{path} cannot be decoded; OpenCV says '{str(error.err or error).strip()}'.",
            fix=f"{_COPY_AGAIN}, or make it smaller",
        ) from error
    if image is None:
        raise UserError(f"{path} cannot be decoded: truncated or damaged.", fix=_COPY_AGAIN)
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
                fix="use grey depth maps; tools/render_depth.py makes them",
            )
        depth = np.ascontiguousarray(depth[..., 0])
    if depth.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path} has pixels of type {depth.dtype}, not 8- or 16-bit integers.",
            fix="use relative inverse depth from 0 (far) to 255 or 65535 (near)",
        )
    return depth


def read_label(path: str) -> np.ndarray:
    """Reads a label file with one 8-bit id per pixel; a palette's index is the id.

    Returns:
        uint8, (h, w).

    Raises:
        UserError: The file is missing, truncated, or has other than one 8-bit channel.
    """
    data = read_whole(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in ("L", "P"):
                raise UserError(
                    f"{path} has pixels of type {image.mode}, not one 8-bit id per pixel.",
                    fix="use files of ids, not coloured ones; tools/convert_datasets makes them",
                )
            return np.array(image)
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is no image, or a damaged one.", fix=_COPY_AGAIN) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be decoded: {error}.", fix=_COPY_AGAIN) from error


def read_train_ids(
    path: str, lookup: np.ndarray, classes: int, ignore_index: int, shape: tuple[int, int] | None
) -> np.ndarray:
    """Reads a label file and maps its ids to trainIds.

    Args:
        path: Label file.
        lookup: uint8, (256,): what each id in the file stands for.
        classes: Number of classes of the taxonomy.
        ignore_index: TrainId of unlabelled pixels.
        shape: (height, width) of the image; None skips the comparison.

    Returns:
        uint8, (h, w).

    Raises:
        UserError: The file is damaged, differs from the image in size, or holds an id outside the
            taxonomy.
    """
    return to_train_ids(read_label(path), path, lookup, classes, ignore_index, shape)


def to_train_ids(
    label: np.ndarray,
    path: str,
    lookup: np.ndarray,
    classes: int,
    ignore_index: int,
    shape: tuple[int, int] | None,
) -> np.ndarray:
    """Maps the ids of a label that was read to trainIds; see :func:`read_train_ids`."""
    if shape is not None and label.shape != tuple(shape):
        raise UserError(
            f"{path} has {label.shape[1]}x{label.shape[0]} pixels, its image has "
            f"{shape[1]}x{shape[0]}.",
            fix="remove image and label, or replace them by files of equal size",
        )
    present = np.flatnonzero(count_ids(label))
    mapped = lookup[present]
    outside = present[(mapped >= classes) & (mapped != ignore_index)]
    if outside.size:
        raise UserError(
            f"{path} holds id {outside[0]}, which is outside the taxonomy "
            f"({classes} classes, {ignore_index} = unlabelled).",
            fix="convert the labels to trainIds (tools/convert_datasets), or set the data set's "
            "label_map",
        )
    return label if np.array_equal(mapped, present) else lookup[label]


def count_ids(label: np.ndarray) -> np.ndarray:
    """Counts the pixels of each id; int64, (256,). Exact up to 2**24 pixels per id."""
    # Twice as fast as numpy's bincount, which first converts every pixel to 64 bits.
    return cv2.calcHist([label], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def _refuse(path: str | Path, fault: str | None) -> None:
    if fault is not None:
        raise UserError(
            f"{path} cannot be decoded: truncated or damaged ({fault}).", fix=_COPY_AGAIN
        )
