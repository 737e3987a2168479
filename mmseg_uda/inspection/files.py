"""Which files of a data set are used, and which are not although they look as if they should be."""

from __future__ import annotations

from pathlib import Path

from mmseg_uda.findings import Finding
from mmseg_uda.taxonomy.companions import is_label_of
from mmseg_uda.taxonomy.folders import scan
from mmseg_uda.wording import number_of

from .data_sets import DataSet
from .folder import check_folder, check_links, warning


def check_files(one: DataSet) -> list[Finding]:
    """Compares the images in use with what lies beside them, by names alone."""
    found = _repeated(one)
    if one.location.file_list is None:  # else the user has chosen
        suffix = one.location.img_suffix
        stems = {name[: -len(suffix)]: name for name in one.images}
        found += [*check_folder(one.title, stems, one.left, suffix), *_without_image(one)]
    folder = Path(one.location.image_folder)
    found += check_links(one.title, folder, one.images, one.left)
    return found


def _repeated(one: DataSet) -> list[Finding]:
    repeated = one.left.repeated
    if not repeated:
        return []
    where = f"{one.location.file_list} names {number_of(len(repeated), 'image')} more than once"
    message = f"{one.title}: {where}, the first is {repeated[0]}; each is used once."
    return [warning(message, "Remove the lines.", repeated=repeated)]


def _without_image(one: DataSet) -> list[Finding]:
    """Labels that no image belongs to: often half of a download."""
    location, folder = one.location, one.location.label_folder
    if folder is None or folder != Path(location.root, str(location.label_dir)):
        return []  # folders by weather condition hold other splits, too
    suffix, used = location.label_suffix, set(one.labels)
    stems = {name[: -len(suffix)] for name in used}
    orphans = sorted(
        name
        for name in scan(folder, suffix)
        if name not in used and not is_label_of(name[: -len(suffix)], stems)
    )
    if folder == location.image_folder:
        images = set(one.images)
        orphans = [name for name in orphans if name not in images]
    if not orphans:
        return []
    return [
        warning(
            f"{location.title}: {len(orphans)} labels have no image, e.g. "
            f"{Path(folder, orphans[0])}.",
            "Complete the images, unless the subset is intended.",
            labels_without_image=orphans,
        )
    ]
