"""Predicts files one after another, reading ahead and writing behind the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg_uda.apis.image_files import ImageFile
from mmseg_uda.apis.prediction import Prediction, Predictor, load_image, shape_of
from mmseg_uda.apis.prediction_files import PredictionFolder
from mmseg_uda.errors import UserError
from mmseg_uda.progress import track


@dataclass(frozen=True)
class Failure:
    """An image that could not be predicted.

    Attributes:
        path: The image.
        message: Why, and what to do.
    """

    path: Path
    message: str


@dataclass(frozen=True)
class Prepared:
    """An image that is ready for the network."""

    file: ImageFile
    image: np.ndarray
    sample: dict[str, Any]


def predict_files(
    predictor: Predictor,
    files: Sequence[ImageFile],
    folder: PredictionFolder,
    batch_size: int = 1,
    workers: int = 4,
) -> list[Failure]:
    """Predicts files and writes what ``folder`` asks for, with a progress bar.

    Args:
        predictor: Of the network.
        files: Images; neighbours of equal size form batches.
        folder: Where predictions go.
        batch_size: Images that pass the network together.
        workers: Threads that read images, and as many that write predictions.

    Returns:
        The images that failed, in order; the others are predicted all the same.

    Raises:
        UserError: Predictions cannot be written.
    """
    failures = []
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as writers:
        prepared = _read_ahead(predictor, files, readers, 2 * batch_size + workers)
        done = _predicted(predictor, prepared, batch_size)
        written: deque[Future] = deque()
        try:
            for outcome in track(done, "Segmenting", len(files)):
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                    continue
                one, prediction = outcome
                written.append(writers.submit(folder.write, one.file.name, one.image, prediction))
                # Pictures that wait to be written hold memory; the network waits for them.
                while written and (written[0].done() or len(written) > 2 * workers):
                    written.popleft().result()
            for future in written:
                future.result()
        except OSError as error:
            readers.shutdown(cancel_futures=True)
            writers.shutdown(cancel_futures=True)
            raise UserError(
                f"Predictions cannot be written to {folder.root}: {error.strerror or error}.",
                fix="Free some space or give another --out; the same command then continues.",
            ) from error
    order = {file.path: index for index, file in enumerate(files)}
    return sorted(failures, key=lambda failure: order[failure.path])


def _read_ahead(
    predictor: Predictor, files: Sequence[ImageFile], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[Prepared | Failure]:
    """Prepared images in order, at most ``ahead`` of them in memory."""
    pending: deque[Future] = deque()
    waiting = iter(files)
    while True:
        for file in waiting:
            pending.append(pool.submit(_prepare, predictor, file))
            if len(pending) >= ahead:
                break
        if not pending:
            return
        yield pending.popleft().result()


def _prepare(predictor: Predictor, file: ImageFile) -> Prepared | Failure:
    try:
        image = load_image(file.path)
        return Prepared(file, image, predictor.prepare(image, str(file.path)))
    except Exception as error:  # one bad file of thousands must not end the run
        return Failure(file.path, _reason(error))


def _predicted(
    predictor: Predictor, prepared: Iterator[Prepared | Failure], batch_size: int
) -> Iterator[tuple[Prepared, Prediction] | Failure]:
    batch: list[Prepared] = []
    for one in prepared:
        if isinstance(one, Failure):
            yield one
            continue
        if batch and (
            len(batch) == batch_size or shape_of(batch[0].sample) != shape_of(one.sample)
        ):
            yield from _run(predictor, batch)
            batch = []
        batch.append(one)
    if batch:
        yield from _run(predictor, batch)


def _run(
    predictor: Predictor, batch: Sequence[Prepared]
) -> Iterator[tuple[Prepared, Prediction] | Failure]:
    try:
        predictions = predictor([one.sample for one in batch])
    except Exception as error:
        failure = Failure(batch[0].file.path, _reason(error))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    else:
        yield from zip(batch, predictions, strict=True)
        return
    if len(batch) == 1:
        yield failure
        return
    # Together they may be too large, or one of them is to blame.
    for one in batch:
        yield from _run(predictor, [one])


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return (
            "The memory does not suffice for this image.\n"
            "  Fix: --sequential-slide, --resize with a smaller size, --amp bf16 or --device cpu"
        )
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
