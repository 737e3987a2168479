"""Zip archives whose damage is told: checkpoints of torch, arrays of numpy.

A zip file has a check sum per record, which torch does not look at. It leaves out what lies between
the records, so checkpoints of ours carry one over the whole file, too, as the archive's comment.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

SIGNATURE, END_SIGNATURE = b"PK\x03\x04", b"PK\x05\x06"
SEAL = b"mmseg_uda crc32 "
DIGITS = 8
BLOCK = 1 << 22
# End of central directory: signature, disks, entries here and in all, size, offset, comment length.
END = struct.Struct("<4sHHHHIIH")
MANY_ENTRIES = 0xFFFF
FOLDER = 0x10
# numpy parses an array's header as Python, and Python 3.11's parser fails now and then in one of
# several threads ("AST constructor recursion depth mismatch").
_HEADERS = threading.Lock()


def seal(file: BinaryIO) -> None:
    """Appends a check sum of the whole file to an archive that ``torch.save`` has just written.

    Args:
        file: Open for reading and writing in binary mode.
    """
    file.seek(-2, os.SEEK_END)  # an empty comment's length
    file.write(struct.pack("<H", len(SEAL) + DIGITS) + SEAL)
    file.write(b"%0*x" % (DIGITS, _checksum(file, file.tell())))


class DamagedError(Exception):
    """An archive is not as it was written; the message says what is wrong, not with which file."""


def check_archive(path: str | Path) -> None:
    """Raises if a file is a damaged archive.

    Reads the file once, at 2 GB a second and more, in little memory. Files that are no zip
    archives (pickles of old torch versions, safetensors) pass, as do archives without check sums
    (``torch.serialization.set_crc32_options(False)``): nothing in them tells.

    Raises:
        DamagedError: The archive is damaged.
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(SEAL) - DIGITS, 0))
        mark, digits = file.read(len(SEAL)), file.read()
        # More than half of it is enough: the mark itself may be what is damaged.
        if sum(a == b for a, b in zip(mark, SEAL, strict=False)) > len(SEAL) // 2:
            if mark != SEAL or b"%0*x" % (DIGITS, _checksum(file, size - DIGITS)) != digits:
                raise DamagedError("its check sum is not the one that it was written with")
            return
        file.seek(0)
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return
        try:
            with zipfile.ZipFile(file) as archive:
                _check_directory(archive, file)
                has_checksums = any(record.CRC for record in archive.infolist())
                record = archive.testzip() if has_checksums else None
        except Exception as error:  # the reader raises many kinds
            raise DamagedError(f"its records cannot be read ({error})") from error
    if record is not None:
        raise DamagedError(f"the check sum of its record {record} is wrong")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, by name.

    ``numpy.load`` does not see damage to an array's header or to the list of arrays.

    Raises:
        FileNotFoundError: There is no such file.
        Exception: Many kinds, for a file that is damaged or no npz file.
    """
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        _check_directory(archive, file)
        arrays = {}
        for name in archive.namelist():
            record = io.BytesIO(archive.read(name))  # to its end, so that its check sum is compared
            with _HEADERS:
                array = np.lib.format.read_array(record, allow_pickle=False)
            arrays[name.removesuffix(".npy")] = array
        return arrays


def _check_directory(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """Raises ``BadZipFile`` for damage to the list of records that no check sum covers."""
    file.seek(max(file.seek(0, os.SEEK_END) - END.size - 0xFFFF, 0))
    tail = file.read()
    end = tail.rindex(END_SIGNATURE)
    _, _, _, _, entries, _, _, comment = END.unpack_from(tail, end)
    if end + END.size + comment > len(tail):
        raise zipfile.BadZipFile("the file is cut off")
    if entries not in (len(archive.infolist()), MANY_ENTRIES):
        raise zipfile.BadZipFile(f"{len(archive.infolist())} of {entries} records are listed")
    for record in archive.infolist():
        # torch gives memory as it finds it for a record that is marked so.
        if record.external_attr & FOLDER and record.file_size:
            raise zipfile.BadZipFile(f"{record.filename} is marked as a folder")


def _checksum(file: BinaryIO, length: int) -> int:
    """CRC-32 of a file's first ``length`` bytes; the position is after them then."""
    file.seek(0)
    checksum = 0
    while length > 0:
        block = file.read(min(BLOCK, length))
        if not block:
            break  # it has become shorter meanwhile
        checksum = zlib.crc32(block, checksum)
        length -= len(block)
    return checksum
