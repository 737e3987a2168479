"""What the headers of all images and labels of a data set show: nothing is decoded."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level
from mmseg_uda.labels import Header, fitted_size, read_image
from mmseg_uda.labels.headers import TURNED
from mmseg_uda.labels.reading import LABEL_MODES, no_label
from mmseg_uda.regular_files import why_no_file
from mmseg_uda.wording import counted

from .data_sets import AREA, DataSet, steps_of
from .ids import RARE

LOSSY = ("JPEG", "MPO")
GREY = ("1", "L", "LA", "I;16")
THINNEST = 4
TRIED = 100
MARGINS = "MarkValid"
# what changes an image's size by chance, or in ways that only it knows
UNCERTAIN = ("ResizeFields", "RandomScaleCrop", "RandomResize", "Resize", "RandomCrop")
SKEWED = 0.05  # relative difference of aspect ratios that no rounding explains


def check_headers(one: DataSet) -> list[Finding]:
    """Looks at every header: what is no image, sizes, pixel types, orientation."""
    images = dict(zip(one.images, one.image_headers, strict=True))
    labels = dict(zip(one.images, one.label_headers, strict=bool(one.labels)))
    depths = dict(zip(one.images, one.depth_headers, strict=bool(one.depth_headers)))
    return [
        *_unreadable(one, images, labels, depths),
        *_sizes(one, _sound(images), _sound(labels)),
        *_label_types(one, _sound(labels)),
        *_image_types(one, _sound(images)),
        *_margins(one, _sound(images)),
        *_crops(one, _sound(images)),
        *_orientation(one, _sound(images), _sound(labels)),
        *_depth_shapes(one, _sound(images), _sound(depths)),
    ]


def _sound(headers: Mapping[str, Header | UserError]) -> dict[str, Header]:
    return {name: header for name, header in headers.items() if isinstance(header, Header)}


def _unreadable(one: DataSet, *kinds: Mapping[str, Header | UserError]) -> Iterator[Finding]:
    paths = (one.image_path, one.label_of, one.depth_of)
    for headers, path, what in zip(kinds, paths, ("images", "labels", "depth files"), strict=True):
        errors = {path(n): h for n, h in headers.items() if isinstance(h, UserError)}
        # Missing ones are told by whoever looks for files, with how to get them.
        errors = {p: error for p, error in errors.items() if why_no_file(p) != "is missing"}
        errors = _undecodable(errors) if what == "images" else errors
        if errors:
            first = next(iter(errors.values()))
            number = "" if len(headers) == 1 else f" ({counted(errors, headers, what)})"
            text = f"{one.title}: {first.message.rstrip('.')}{number}."
            yield Finding(
                AREA, Level.PROBLEM, text, fix=first.fix or "", details={"files": list(errors)}
            )


def _undecodable(errors: dict[str, UserError]) -> dict[str, UserError]:
    """Those that OpenCV cannot read, either; of very many, the first stands for all."""
    tried = list(errors)[: 1 if len(errors) > TRIED else None]
    readable = {path for path in tried if _decodes(path)}
    if len(errors) > TRIED:
        return {} if readable else errors
    return {path: error for path, error in errors.items() if path not in readable}


def _decodes(path: str) -> bool:
    try:
        read_image(path)
    except UserError:
        return False
    return True


def _sizes(
    one: DataSet, images: Mapping[str, Header], labels: Mapping[str, Header]
) -> Iterator[Finding]:
    differing = [
        name for name, label in labels.items() if name in images and not _fits(label, images[name])
    ]
    if not differing:
        return
    first = differing[0]
    (height, width), label = images[first].shape, labels[first]
    text = (
        f"{one.title}: {counted(differing, labels, 'labels')} have another size than their image, "
        f"e.g. {one.label_of(first)} has {label.width}x{label.height} pixels, its image "
        f"{width}x{height}."
    )
    paths = [p for name in differing[:2] for p in (one.image_path(name), one.label_of(name))]
    more = f" (and {len(differing) - 2} more pairs)" if len(differing) > 2 else ""
    fix = f"Replace image or label, or remove both: rm {' '.join(map(shlex.quote, paths))}{more}"
    if len(differing) == len(labels) > 1:
        fix = "Use the labels that belong to these images, or resize them (nearest neighbour)."
    details = {"files": [one.label_of(name) for name in differing]}
    yield Finding(AREA, Level.PROBLEM, text, fix=fix, details=details)


def _fits(label: Header, image: Header) -> bool:
    """A label of the stored raster is turned with an image that lies on its side."""
    sideways = image.orientation in TURNED and label.shape == image.stored
    return label.shape == image.shape or sideways


def _label_types(one: DataSet, labels: Mapping[str, Header]) -> Iterator[Finding]:
    wrong = [name for name, header in labels.items() if header.mode not in LABEL_MODES]
    if wrong:
        error = no_label(one.label_of(wrong[0]), labels[wrong[0]].mode)
        text = f"{one.title}: {error.message.rstrip('.')} ({counted(wrong, labels, 'labels')})."
        details = {"files": [one.label_of(name) for name in wrong]}
        yield Finding(AREA, Level.PROBLEM, text, fix=error.fix or "", details=details)
    lossy = [n for n, h in labels.items() if h.format in LOSSY and n not in set(wrong)]
    if lossy:
        text = (
            f"{one.title}: {counted(lossy, labels, 'labels')} are JPEG files, e.g. "
            f"{one.label_of(lossy[0])}: compression changes ids along borders."
        )
        yield Finding(AREA, Level.WARNING, text, fix="Export the labels as PNG.")


def _image_types(one: DataSet, images: Mapping[str, Header]) -> Iterator[Finding]:
    printed = [name for name, header in images.items() if header.mode == "CMYK"]
    if printed:
        text = (
            f"{one.title}: {counted(printed, images, 'images')} hold printing colours (CMYK), e.g. "
            f"{one.image_path(printed[0])}: they are converted roughly."
        )
        yield Finding(
            AREA, Level.WARNING, text, fix="Convert them to RGB with their colour profile."
        )
    grey = [name for name, header in images.items() if header.mode in GREY]
    coloured = [name for name, header in images.items() if header.mode not in GREY]
    few, what = (grey, "grey") if len(grey) <= len(coloured) else (coloured, "coloured")
    if len(few) > RARE * len(images):
        text = (
            f"{one.title}: {counted(few, images, 'images')} are {what}, unlike the others, e.g. "
            f"{one.image_path(few[0])}."
        )
        yield Finding(AREA, Level.WARNING, text, fix="Look whether they belong to this data set.")


def _margins(one: DataSet, images: Mapping[str, Header]) -> Iterator[Finding]:
    """Images that are too small for what is left out at their borders, or for anything."""
    thin = [name for name, image in images.items() if min(image.stored) < THINNEST]
    if thin:
        text = (
            f"{one.title}: {counted(thin, images, 'images')} have a side of fewer than {THINNEST} "
            f"pixels, e.g. {one.image_path(thin[0])}."
        )
        yield Finding(AREA, Level.WARNING, text, fix="Remove them.")
    steps = [step for step in steps_of(one.item) if step.get("type") == MARGINS]
    for step in steps:
        margins = step.get("margins") or one.item.get("crop_pseudo_margins") or (0, 0, 0, 0)
        top, bottom, left, right = margins
        small = [
            name
            for name, image in images.items()
            if image.shape[0] <= top + bottom or image.shape[1] <= left + right
        ]
        if small:
            height, width = images[small[0]].shape
            text = (
                f"{one.title}: crop_pseudo_margins={list(margins)} leave nothing of "
                f"{counted(small, images, 'images')}, e.g. {one.image_path(small[0])} "
                f"({width}x{height})."
            )
            fix = "Give them in pixels of the native image: [top, bottom, left, right]."
            details = {"files": [one.image_path(name) for name in small]}
            yield Finding(AREA, Level.PROBLEM, text, fix=fix, details=details)


def _crops(one: DataSet, images: Mapping[str, Header]) -> Iterator[Finding]:
    """Images that are smaller than the crop when it is cut, as far as that is certain."""
    scale: Any = None
    crop: Any = None
    for step in steps_of(one.item):
        kind = step.get("type")
        if kind == "ResizeFields" and step.get("scale") and step.get("keep_ratio", True):
            scale = step["scale"]
        elif kind in UNCERTAIN:
            return
        elif kind == "CropFields":
            crop = step.get("crop_size")
            break
    if not _two_sides(crop) or (scale and not _two_sides(scale)):
        return  # told when the transform is built
    rows, columns = crop
    shapes = {image.shape for image in images.values()}
    sizes = {shape: fitted_size(*shape, scale) if scale else shape for shape in shapes}
    small = [
        name
        for name, image in images.items()
        if sizes[image.shape][0] < rows or sizes[image.shape][1] < columns
    ]
    if small:
        height, width = sizes[images[small[0]].shape]
        text = (
            f"{one.title}: crops of {columns}x{rows} pixels are larger than "
            f"{counted(small, images, 'images')}, e.g. {one.image_path(small[0])} is "
            f"{width}x{height} when it is cropped: the rest is padding, which teaches nothing."
        )
        fix = "Give a smaller crop_size, or resize to more: scale of ResizeFields."
        yield Finding(AREA, Level.WARNING, text, fix=fix)


def _two_sides(value: Any) -> bool:
    several = isinstance(value, (list, tuple)) and len(value) == 2
    return several and all(isinstance(side, int) and side > 0 for side in value)


def _orientation(
    one: DataSet, images: Mapping[str, Header], labels: Mapping[str, Header]
) -> Iterator[Finding]:
    """Photographs whose mark leaves open which raster their label was drawn on."""
    open_ = [
        name
        for name, image in images.items()
        if image.orientation != 1 and name in labels and image.shape == image.stored
    ]
    if open_:
        first = open_[0]
        text = (
            f"{one.title}: {counted(open_, images, 'images')} are marked as turned (EXIF "
            f"orientation {images[first].orientation}), e.g. {one.image_path(first)}; they are "
            f"turned upright, {one.label_of(first)} is taken as drawn on the upright picture."
        )
        fix = "If it was drawn on the stored pixels, remove the mark: exiftool -Orientation= FILE."
        yield Finding(AREA, Level.WARNING, text, fix=fix)


def _depth_shapes(
    one: DataSet, images: Mapping[str, Header], depths: Mapping[str, Header]
) -> Iterator[Finding]:
    """Depth files may have any size, but show the same picture."""
    skewed = [n for n, depth in depths.items() if n in images and _skewed(depth, images[n])]
    if not skewed:
        return
    first = skewed[0]
    (height, width), depth = images[first].shape, depths[first]
    text = (
        f"{one.title}: {counted(skewed, depths, 'depth files')} have another shape than their "
        f"image, e.g. {one.depth_of(first)} has {depth.width}x{depth.height} pixels, its image "
        f"{width}x{height}."
    )
    details = {"files": [one.depth_of(name) for name in skewed]}
    yield Finding(
        AREA, Level.PROBLEM, text, fix=f"Render them anew: {one.location.render}", details=details
    )


def _skewed(depth: Header, image: Header) -> bool:
    (height, width), shape = depth.shape, image.shape
    return abs(width * shape[0] / (height * shape[1]) - 1) > SKEWED
