"""Lists of the images in use: one name per line."""

from __future__ import annotations

import codecs
import glob
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_bytes

from .folders import same_name, similar

COMMENT = "#"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST = 80  # characters of an entry in a message
FORM = "Write one image name per line, in UTF-8."


@dataclass(frozen=True)
class Entry:
    """A line of a list: its number, from 1, and the name in it."""

    line: int
    text: str


def read_list(path: Path) -> list[Entry]:
    """Returns the lines of a list file that are not blank.

    Files in UTF-8 are read, and those in UTF-16 or UTF-32 that begin with a byte-order mark.

    Raises:
        UserError: The file cannot be read or has another encoding.
    """
    data = read_bytes(path, FORM)
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
        wrong = text.partition("\0")[0] if "\0" in text else None
    except UnicodeDecodeError as error:
        wrong = data[: error.start].decode("latin-1")
    if wrong is not None:
        line = 1 + len(re.findall(r"\r\n|\r|\n", wrong))
        raise UserError(
            f"{path}, line {line}: this is no text in UTF-8.",
            fix="Save the list as UTF-8 (in a shell: iconv -f LATIN1 -t UTF-8, or -f UTF-16LE).",
        )
    lines = enumerate(re.split(r"\r\n|\r|\n", text), 1)
    return [Entry(number, line.strip()) for number, line in lines if line.strip()]


@dataclass(frozen=True)
class ListedImages:
    """The images that a list chooses.

    Attributes:
        names: Their names, in the list's order, each once.
        repeated: Entries whose image was named before, with their lines.
    """

    names: list[str]
    repeated: list[str]


def choose(path: Path, names: Sequence[str], suffix: str, folder: Path, fix: str) -> ListedImages:
    """Chooses the images of a list.

    An entry is an image's path below its folder, without suffix; without folders it stands for the
    one image of that name, wherever it lies. With the suffix, or the image folder before it, it
    means the same. Lines that begin with # are comments, unless an image has that name.

    Args:
        path: The list.
        names: Image names, relative to the folder.
        suffix: End of image names.
        folder: The image folder.
        fix: How to get images that are missing; '' if the list itself is to be corrected.

    Raises:
        UserError: The list cannot be read or is empty, or an entry has no image or several.
    """
    entries = read_list(path)
    stems = {_key(name[: -len(suffix)]): name for name in names}
    bases: dict[str, list[str]] = {}
    for stem, name in stems.items():
        bases.setdefault(stem.rpartition("/")[2], []).append(name)
    prefixes = _prefixes(folder)
    chosen: dict[str, None] = {}
    repeated, absent = [], []
    for entry in entries:
        forms = map(_key, _forms(entry.text, suffix, prefixes))
        found = next((f for form in forms if (f := _images(form, stems, bases))), [])
        if len(found) > 1:
            one, other = (name[: -len(suffix)] for name in sorted(found)[:2])
            raise UserError(
                f"{path}, line {entry.line}: {one} and {other} both match the entry "
                f"'{_shown(entry.text)}'.",
                fix="List images with their folders, or keep one of the two.",
            )
        if not found:
            absent += [] if entry.text.startswith(COMMENT) else [entry]
        elif found[0] in chosen:
            repeated.append(f"{_shown(entry.text)} (line {entry.line})")
        else:
            chosen[found[0]] = None
    if absent:
        first = absent[0]
        advice = _advice(first.text, stems, bases, Path(folder, f"{first.text}{suffix}"))
        raise UserError(
            f"{path}, line {first.line}: {len(absent)} of {len(entries)} listed images are "
            f"missing, the first is {_shown(first.text)}; images are in {folder} and end with "
            f"{suffix}.",
            fix=advice or fix or "Correct the list, or the data set's img_dir and img_suffix.",
        )
    if not chosen:
        raise UserError(f"{path} lists nothing.", fix=FORM)
    return ListedImages(list(chosen), repeated)


def _key(name: str) -> str:
    """What is compared: an accent is one character or two, as the file system likes it."""
    return normalize("NFC", name)


def _shown(text: str) -> str:
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return text if text.isprintable() else repr(text)


def _images(form: str, stems: dict[str, str], bases: dict[str, list[str]]) -> list[str]:
    if form in stems:
        return [stems[form]]
    return [] if "/" in form else bases.get(form, [])


def _prefixes(folder: Path) -> list[str]:
    """What may stand before an image's path below the folder: the folder's path, or its end."""
    places = dict.fromkeys([os.path.abspath(folder), os.path.realpath(folder)])
    ends = []
    for place in places:
        parts = Path(place).as_posix().split("/")
        ends += ["/".join(parts[start:]) + "/" for start in range(len(parts))]
    return ends


def _forms(text: str, suffix: str, prefixes: Sequence[str]) -> Iterator[str]:
    """The stems that an entry may mean, the most literal first."""
    plain = posixpath.normpath(text.replace("\\", "/"))
    paths = [text, plain, *(plain.removeprefix(p) for p in prefixes if plain.startswith(p))]
    for path in paths:
        yield path
        # With the suffix, or with that part of it that comes before the file type.
        for whole in (path, path + suffix[suffix.rfind(".") :]):
            if whole.endswith(suffix):
                yield whole.removesuffix(suffix)


def _advice(
    text: str, stems: dict[str, str], bases: dict[str, list[str]], path: Path
) -> str | None:
    """What may be wrong with an entry that has no image."""

    def known(name: str) -> bool:
        return any(map(bool, (stems.get(_key(name)), bases.get(_key(posixpath.basename(name))))))

    words = [posixpath.splitext(word.strip(",;\"'"))[0] for word in re.split(r"[\s,;]+", text)]
    if len(words) > 1 and COMMENT in text:
        return "Comments stand in lines of their own, which begin with #."
    if len(words) > 1 and known(words[0]):
        return (
            "One image name per line and nothing else; label_dir and label_suffix of the data set "
            "say where its label is."
        )
    if glob.has_magic(text):
        return "A list holds names, no patterns; without file_list, all images are used."
    if os.path.isdir(os.path.splitext(path)[0]):
        return f"{text} is a folder: list the images in it."
    wanted = same_name(posixpath.splitext(text)[0])
    near = next((name for stem, name in stems.items() if same_name(stem) == wanted), similar(path))
    return f"There is {near}: names are to be the same, and end with img_suffix." if near else None
