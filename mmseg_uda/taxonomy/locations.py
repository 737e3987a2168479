"""Where the files of a data set lie, and what of it is missing.

No torch and no decoding: the experiment runner asks here before it starts a training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

from .data_options import PATHS, complete
from .file_lists import choose
from .folders import Leftovers, same_name, scan, similar
from .further_options import check_further
from .layouts import DEPTH_FOLDER, MissingPath


@dataclass(frozen=True)
class DataLocation:
    """The files of one split of a data set.

    Image and label names are relative POSIX paths; the label of an image lies at the same relative
    path in the label folder, with the suffix replaced.

    Attributes:
        title: Name for messages.
        root: Root folder.
        img_dir: Image folder below the root.
        label_dir: Label folder below the root; None for images without labels.
        img_suffix: End of image file names.
        label_suffix: End of label file names.
        obtain: How to get the data set.
        convert: How to make its trainId labels.
        per_condition: See ``Layout``.
        depth_dir: Folder of the depth files below the root.
        depth_suffix: End of depth file names.
        render: How to make the depth files.
        file_list: File below the root with the names of the images in use, see
            :func:`~mmseg_uda.taxonomy.file_lists.choose`. None: all.
        make_list: How to make the list.
        own: The files are the user's, not a published data set's.
    """

    title: str
    root: str
    img_dir: str
    label_dir: str | None
    img_suffix: str
    label_suffix: str
    obtain: str = ""
    convert: str | None = None
    per_condition: bool = field(default=False, repr=False)
    depth_dir: str = DEPTH_FOLDER
    depth_suffix: str = ".png"
    render: str = ""
    file_list: str | None = None
    make_list: str = ""
    own: bool = False

    @classmethod
    def create(cls, type: str = "TaxonomyDataset", *args: Any, **options: Any) -> DataLocation:
        """Completes the options of a data set with its published layout.

        Args:
            type: That of the data set.
            *args: Those of ``TaxonomyDataset``, in its order.
            **options: The same by name; those that concern no path are checked and not kept.

        Raises:
            UserError: An option is missing, unknown or without effect, or the data set has no such
                split.
        """
        check_further(type, {k: v for k, v in options.items() if k not in PATHS})
        paths = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value
            for name, value in options.items()
            if name in PATHS
        }
        return cls(**complete(type, *args, **paths))

    @cached_property
    def _by_condition(self) -> bool:
        """Whether the split folders lie below condition folders (ACDC as downloaded)."""
        return self.per_condition and not Path(self.root, self.img_dir).is_dir()

    @property
    def image_folder(self) -> Path:
        """Folder that image names are relative to."""
        folder = Path(self.root, self.img_dir)
        return folder.parent if self._by_condition else folder

    @property
    def label_folder(self) -> Path | None:
        """Folder that label names are relative to."""
        if self.label_dir is None:
            return None
        folder = Path(self.root, self.label_dir)
        return folder.parent if self._by_condition else folder

    @property
    def depth_folder(self) -> Path:
        """Folder that depth file names are relative to."""
        folder = Path(self.root, self.depth_dir)
        return folder.parent if self._by_condition else folder

    def iter_images(self, left: Leftovers | None = None) -> Iterator[str]:
        """Yields the names of all images in the folder, in no particular order.

        Args:
            left: Gets what is left out, apart from labels and depth files.

        Raises:
            UserError: A folder cannot be read.
        """
        for name in scan(self.image_folder, self.img_suffix, left):
            if not self._is_foreign(name):
                yield name
        if left is not None:
            for names in vars(left).values():
                names[:] = [name for name in names if not self._is_foreign(name)]

    def _is_foreign(self, name: str) -> bool:
        """Whether a file in the image folder belongs to another split, or is no image."""
        if self._by_condition and name.split("/")[1:2] != [Path(self.img_dir).name]:
            return True
        return any(
            name.startswith(below) and (below or name.endswith(suffix))
            for below, suffix in self._companions
        )

    @cached_property
    def _companions(self) -> list[tuple[str, str]]:
        """Where labels and depth files lie below the image folder, and their suffix.

        In the image folder itself, the suffix tells them from images.
        """
        here = os.path.realpath(self.image_folder)
        folders = [(self.depth_folder, self.depth_suffix)]
        if self.label_folder is not None:
            folders.append((self.label_folder, self.label_suffix))
        found = []
        for folder, suffix in folders:
            below = os.path.relpath(os.path.realpath(folder), here)
            if below.split(os.sep)[0] != os.pardir:
                found.append(("" if below == os.curdir else f"{Path(below).as_posix()}/", suffix))
        return [one for one in found if one != ("", self.img_suffix)]

    def images(self, left: Leftovers | None = None) -> list[str]:
        """Returns the names of all images in use, sorted.

        Args:
            left: Gets what is left out.

        Raises:
            UserError: There is no image, one that is listed is missing or there twice, or a folder
                or an image cannot be read.
        """
        left = Leftovers() if left is None else left
        names = sorted(self.iter_images(left))
        if left.unusable:
            raise UserError(
                f"{self.title}: {len(left.unusable)} images in {self.image_folder} are links to "
                "nothing, pipes or devices, or have names that are not UTF-8, the first is "
                f"{min(left.unusable)}.",
                fix="Mend, rename or remove them; links to data that was moved lead to its old "
                "place, and convmv translates names.",
            )
        if not names:
            raise self._no_images(left).as_error()
        if self.file_list is None:
            return names
        path = Path(self.root, self.file_list)
        if not path.exists():
            raise self._no_list().as_error()
        advice = "" if self.own else self.obtain
        listed = choose(path, names, self.img_suffix, self.image_folder, advice)
        left.repeated += listed.repeated
        return sorted(listed.names)

    def _no_list(self) -> MissingPath:
        return MissingPath(self.title, str(Path(self.root, str(self.file_list))), self.make_list)

    def _no_images(self, left: Leftovers) -> MissingPath:
        folder = Path(self.root, self.img_dir)
        path = f"{folder}/**/*{self.img_suffix}" if folder.is_dir() else str(folder)
        if left.others:
            return MissingPath(
                self.title,
                path,
                f"there are {len(left.others)} other images, such as {min(left.others)}: "
                f"img_suffix={self.img_suffix!r} is what the names of images end with",
            )
        hidden = f"{min(left.hidden)} is hidden; otherwise " if left.hidden else ""
        return MissingPath(self.title, path, f"{hidden}{self.obtain}")

    def label_name(self, image: str) -> str:
        """Returns the name of an image's label."""
        return image[: -len(self.img_suffix)] + self.label_suffix

    def depth_name(self, image: str) -> str:
        """Returns the name of an image's depth file.

        >>> DataLocation.create("Cityscapes").depth_name("ulm/ulm_0_leftImg8bit.png")
        'ulm/ulm_0_depth.png'
        """
        return image[: -len(self.img_suffix)] + self.depth_suffix

    def missing(self, depth: bool = False) -> list[MissingPath]:
        """Returns what is missing, without decoding a file.

        Args:
            depth: Whether depth files are needed.

        Labels and depth files are checked for one image.
        """
        if self.file_list is not None and not Path(self.root, self.file_list).exists():
            return [*replace(self, file_list=None).missing(depth), self._no_list()]
        result = []
        first = next(self.iter_images(), None)
        if first is not None and self.file_list is not None:
            first = self.images()[0]
        if depth and first is not None:
            path = str(Path(str(self.depth_folder), self.depth_name(first)))
            if not os.path.isfile(path):
                result.append(MissingPath(f"{self.title} depth", path, self.depth_fix(path)))
        if first is None:
            left = Leftovers()
            list(self.iter_images(left))
            result.append(self._no_images(left))
        if self.label_dir is None:
            return result
        label_folder = Path(self.root, self.label_dir)
        if first is not None:
            path = str(Path(str(self.label_folder), self.label_name(first)))
            if not os.path.isfile(path):
                result.append(MissingPath(self.title, path, self.label_fix(path)))
        elif next(scan(label_folder, self.label_suffix), None) is None:
            path = f"{label_folder}/**/*{self.label_suffix}"
            result.append(MissingPath(self.title, path, self.label_fix()))
        return result

    def depth_fix(self, missing: str | None = None) -> str:
        """Returns how to make the depth files.

        Args:
            missing: Path of one that is not there.
        """
        near = None if missing is None else similar(Path(missing))
        if near is not None:
            return f"There is {near}: set depth_suffix, or render them: {self.render}"
        published = f"put the depth maps that come with CDDA into {self.root}/{self.depth_dir}, or "
        return f"{'' if self.own else published}render them: {self.render}"

    def label_fix(self, missing: str | None = None) -> str:
        """Returns how to make the labels: convert raw ones if there are any, else get them.

        Args:
            missing: Path of a label that is not there.
        """
        near = None if missing is None else similar(Path(missing))
        if near is not None and (
            self.convert is None or same_name(near) == same_name(Path(str(missing)).name)
        ):
            return (
                f"There is {near}, while label_suffix is {self.label_suffix!r}: set it to what the "
                "names of labels end with, or rename them."
            )
        if self.own and self.convert is None:
            return "Check label_dir and label_suffix of this data set in the config."
        if self.convert is None:
            return self.obtain
        folder = Path(self.root, str(self.label_dir))
        if next(scan(folder, ""), None) is None:
            return self.obtain if self.own else f"{self.obtain}; then run: {self.convert}"
        own = "; if labels hold trainIds already, set label_suffix instead" if self.own else ""
        return f"Run: {self.convert}{own}"
