"""Running a converter over thousands of files: an odd one is left out and told at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mmseg_uda.errors import UserError, of_many
from mmseg_uda.pool import map_in_processes
from mmseg_uda.progress import track

from .conversion import LABEL_SUFFIX, Counts
from .headers import read_header

HOPELESS = 20  # files after which a job ends if none could be converted


@dataclass(frozen=True)
class Converted:
    """A label file that was written.

    Attributes:
        path: The file.
        counts: Its pixels by class.
        doubts: What to tell about it: kind (the same for all files) -> what is the matter here.
    """

    path: Path
    counts: Counts
    doubts: dict[str, str] = field(default_factory=dict)


@dataclass
class Batch:
    """Outcome of a conversion.

    Attributes:
        results: File -> label that was made of it, or why none was; in order.
        total: Number of files to convert.
    """

    results: dict[Path, Converted | UserError]
    total: int

    @property
    def converted(self) -> dict[Path, Converted]:
        """Files with a new label."""
        return {file: r for file, r in self.results.items() if isinstance(r, Converted)}

    @property
    def statistics(self) -> list[tuple[Path, Counts]]:
        """Label path and class counts of what was converted."""
        return [(one.path, one.counts) for one in self.converted.values()]

    def report(self, folder: Path, out_dir: Path) -> None:
        """Prints what was written, and what :meth:`tell` says.

        Args:
            folder: Of the labels.
            out_dir: Of the statistics.

        Raises:
            UserError: See :meth:`tell`.
        """
        classes = {i for one in self.converted.values() for i in one.counts}
        if self.converted:
            print(
                f"{len(self.converted)} of {self.total} labels are converted to trainIds: "
                f"{folder}/**/*{LABEL_SUFFIX}, {len(classes)} classes. Their statistics are in "
                f"{out_dir}."
            )
        self.tell()

    def tell(self) -> None:
        """Prints doubts, one line per kind with its first file.

        Raises:
            UserError: Files could not be converted; names them.
        """
        doubts: dict[str, list[str]] = {}
        for file, one in self.converted.items():
            for kind, detail in one.doubts.items():
                doubts.setdefault(kind, []).append(f"{file}: {detail}")
        for kind, details in doubts.items():
            text = f"Warning: {len(details)} of {self.total} files: {kind}, e.g. {details[0]}"
            print(text, file=sys.stderr)
        failures = [r for r in self.results.values() if isinstance(r, UserError)]
        if not failures:
            return
        done = len(self.converted)
        rest = f" ({done} were)" if done else " (none was)"
        error = of_many(failures, self.total, "files could not be converted", rest)
        again = "; the same command then converts all files anew" if done else ""
        raise UserError(error.message, fix=f"{error.fix or 'correct the files'}{again}")


def run(
    convert: Callable[[Path], Converted], files: Sequence[Path], nproc: int, description: str
) -> Batch:
    """Converts files in ``nproc`` processes, with a progress bar.

    A file that cannot be converted does not end the job, unless all of the first 20 are such.

    Args:
        convert: File -> label; a ``UserError`` says what is wrong with the file.
        files: What to convert.
        nproc: Number of processes.
        description: For the progress bar.

    Raises:
        OSError: A label cannot be written.
    """
    attempt = partial(_attempt, convert)
    if nproc <= 1:
        return _collect(files, track(map(attempt, files), description, len(files)))
    results = map_in_processes(attempt, files, nproc, chunk=4)
    return _collect(files, track(results, description, len(files)))


def _attempt(convert: Callable[[Path], Converted], file: Path) -> Converted | UserError:
    try:
        return convert(file)
    except UserError as error:
        return error
    except (OSError, KeyboardInterrupt):  # of writing; readers say which file they cannot read
        raise
    except Exception as error:  # whatever else a file of another kind brings about
        return UserError(f"{file}: {type(error).__name__}: {error}.")


def _collect(files: Sequence[Path], results: Iterable[Converted | UserError]) -> Batch:
    batch = Batch({}, len(files))
    for file, result in zip(files, _unless_hopeless(results), strict=False):
        batch.results[file] = result
    return batch


def _unless_hopeless(
    results: Iterable[Converted | UserError],
) -> Iterator[Converted | UserError]:
    failures = 0
    for number, result in enumerate(results, 1):
        failures += isinstance(result, UserError)
        yield result
        if failures == number == HOPELESS:
            return


def check_size(label: Path, shape: tuple[int, int], image: Path) -> None:
    """Compares a label with the header of its image, if that is there.

    Args:
        label: Label file, for messages.
        shape: Its (height, width).
        image: Where the image lies.

    Raises:
        UserError: They differ.
    """
    if not image.is_file():
        return
    try:
        expected = read_header(str(image)).shape
    except UserError:
        return  # the image's fault; a training and the doctor tell it
    if shape != expected:
        raise UserError(
            f"{label} has {shape[1]}x{shape[0]} pixels, its image {image} "
            f"{expected[1]}x{expected[0]}.",
            fix="Remove image and label, or replace them by files of equal size.",
        )
