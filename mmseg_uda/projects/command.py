"""The command ``tools/new_project.py``: a folder for a training on own data."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mmseg_uda.calling import as_called
from mmseg_uda.cli import Parser, run_name
from mmseg_uda.errors import UserError
from mmseg_uda.miniworld.shipped import shipped_recipe, unpack
from mmseg_uda.taxonomy import load_taxonomy

from .classes import ClassOf, Ids, count_labels, decide_classes, label_map
from .pairs import Images, find_images, find_pairs
from .writing import SMALL_WEIGHTS, Plan, config_text, taxonomy_text

EXAMPLE = """
example:
  python tools/new_project.py harbour --source-images data/renderings/images \\
      --source-labels data/renderings/labels --target-images data/photographs \\
      --classes 4=water 9=ship 11=quay --ignore 0

It looks at the files: which ids the labels hold and how frequent they are, how names of images and
labels differ, how large images are. It writes NAME/taxonomy.yaml and NAME/NAME.py and prints the
next commands. On a terminal it asks for what is left out. Images are not copied."""
FOLDERS = {
    "source_images": "Folder of the labelled images (source)",
    "source_labels": "Folder of their labels, PNGs with one id per pixel",
    "target_images": "Folder of the images to adapt to (target); they need no labels",
}


def parser() -> argparse.ArgumentParser:
    """Returns the command's parser."""
    command = Parser(
        description="Begin a training on own data: write its taxonomy and config.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("name", metavar="NAME", help="folder to make; its last part names the run")
    for option, text in FOLDERS.items():
        flag = f"--{option.replace('_', '-')}"
        command.add_argument(flag, metavar="DIR", help=f"{text[0].lower()}{text[1:]}")
    command.add_argument(
        "--val-images", metavar="DIR", help="labelled images of the target domain, for validation"
    )
    command.add_argument("--val-labels", metavar="DIR", help="their labels")
    command.add_argument(
        "--classes",
        nargs="+",
        default=[],
        metavar="ID=NAME",
        help="names of the ids in the labels, or names alone in the order of the ids; the others "
        "are called class_ID",
    )
    command.add_argument(
        "--ignore", nargs="+", type=int, default=[], metavar="ID", help="ids of unlabelled pixels"
    )
    command.add_argument(
        "--things", nargs="+", default=[], metavar="NAME", help="classes of countable objects"
    )
    command.add_argument(
        "--taxonomy",
        metavar="NAME",
        help="labels hold the trainIds of this taxonomy (cityscapes19, or a YAML file); else one "
        "is written",
    )
    command.add_argument(
        "--iterations", type=int, metavar="N", help="length of the training (40000; small: 600)"
    )
    command.add_argument(
        "--encoder",
        choices=["small", *(f"b{i}" for i in range(6))],
        default="b5",
        help="MiT-B0 to B5 (default: b5), or the package's small network, for trying on a CPU",
    )
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the project, and says what was found and what comes next.

    Args:
        argv: Command-line arguments; default those of the process.

    Raises:
        UserError: A folder is missing, labels do not fit, or the project is there already.
    """
    options = parser().parse_args(argv)
    folder = _new_folder(options.name)
    if options.iterations is not None and not 1 <= options.iterations <= 10_000_000:
        raise UserError(
            f"--iterations {options.iterations} is no length of a training.", fix="Give e.g. 40000."
        )
    if bool(options.val_images) != bool(options.val_labels):
        raise UserError(
            "Validation needs images and labels.",
            fix="Give both --val-images and --val-labels, or none of them.",
        )
    asks = sys.stdin.isatty()
    _complete(options, asks)
    source = find_pairs(options.source_images, options.source_labels)
    target = find_images(options.target_images)
    validation = None
    if options.val_images:
        validation = find_pairs(options.val_images, options.val_labels)
    for name, part in (("source", source), ("target", target), ("validation", validation)):
        _tell_images(name, part)
    found = count_labels([*source.labels, *(validation.labels if validation else ())])
    classes, table = _classes(options, found, asks)
    small = options.encoder == "small"
    plan = Plan(
        folder.name,
        source,
        target,
        validation,
        _taxonomy_place(options.taxonomy),
        bool(table),
        any(one.thing for one in classes),
        options.iterations or (600 if small else 40000),
        small,
        options.encoder,
    )
    text = None if options.taxonomy else taxonomy_text(folder.name, classes, found, table)
    config = _write(folder, plan, text)
    _tell_next(config, plan)
    return 0


def _new_folder(name: str) -> Path:
    folder = Path(name).expanduser().absolute()
    run_name(f"{folder.name}.py")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{name} is there already, and nothing is overwritten.",
            fix="Give another name, or move it away.",
        )
    return folder


def _complete(options: argparse.Namespace, asks: bool) -> None:
    """Asks for folders that are left out.

    Raises:
        UserError: Nobody can be asked.
    """
    missing = [name for name in FOLDERS if not getattr(options, name)]
    if missing and not asks:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise UserError(
            f"A new project needs {flags}.",
            fix="Give the folders; python tools/new_project.py --help has an example.",
        )
    for name in missing:
        setattr(options, name, _ask(FOLDERS[name]))
    if missing and not options.val_images:
        options.val_images = _ask("Labelled images of the target domain for validation", "none")
        if options.val_images == "none":
            options.val_images = None
        else:
            options.val_labels = _ask("Folder of their labels")


def _ask(question: str, default: str = "") -> str:
    shown = f" [{default}]" if default else ""
    answer = ""
    while not answer:
        try:
            answer = input(f"{question}{shown}: ").strip() or default
        except EOFError:
            raise UserError("The questions were not answered.", fix="Give options.") from None
    return answer


def _classes(
    options: argparse.Namespace, found: Ids, asks: bool
) -> tuple[list[ClassOf], dict[int, int]]:
    """The classes, and id -> trainId if these differ."""
    if options.taxonomy:
        known = load_taxonomy(options.taxonomy)
        outside = sorted(i for i in found.pixels if len(known) <= i != known.ignore_index)
        if outside or options.classes or options.ignore:
            what = f"The labels hold ids {', '.join(map(str, outside[:10]))}" if outside else ""
            raise UserError(
                f"{what or '--classes and --ignore have no effect'} beside --taxonomy "
                f"{options.taxonomy}, whose trainIds are 0..{len(known) - 1}.",
                fix="Leave --taxonomy out, and name the ids with --classes.",
            )
        things = [i in known.things for i in range(len(known))]
        classes = [ClassOf(i, name, things[i]) for i, name in enumerate(known.classes)]
        return classes, {}

    def name_of(value: int) -> str:
        return _ask(f"Id {value} ({found.share(value)}) is; - if unlabelled", f"class_{value}")

    ask = name_of if asks and not options.classes else None
    classes = decide_classes(found, options.classes, options.ignore, options.things, ask)
    table = dict(label_map(classes, found))
    named = {one.value: one.name for one in classes}
    for value in sorted({*found.pixels, *named}):
        print(f"  id {value:>3}  {named.get(value, '(unlabelled)')}: {found.share(value)}")
    return classes, table


def _taxonomy_place(given: str | None) -> str:
    if given is None:
        return "{{ fileDirname }}/taxonomy.yaml"
    return str(Path(given).absolute()) if Path(given).is_file() else given


def _write(folder: Path, plan: Plan, taxonomy: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if taxonomy is not None:
        (folder / "taxonomy.yaml").write_text(taxonomy, encoding="utf-8")
    for name, part in (("source", plan.source), ("validation", plan.validation)):
        if part is not None and part.listed:
            (folder / f"{name}.txt").write_text("\n".join(part.names) + "\n", encoding="utf-8")
    if plan.small:
        recipe = shipped_recipe("nano_backbone")
        assert recipe is not None  # it comes with the package
        unpack("nano_backbone", recipe, folder / SMALL_WEIGHTS)
    config = folder / f"{folder.name}.py"
    config.write_text(as_called(config_text(plan)), encoding="utf-8")
    return config


def _tell_images(name: str, part: Images | None) -> None:
    if part is None:
        print("validation: none; the training ends without numbers.")
        return
    labels = f", labels **{part.label_suffix}" if part.label_folder else ""
    width, height = part.size
    print(f"{name}: {len(part.names)} images **{part.suffix}{labels}, {width}x{height}.")
    if part.others:
        why = "have no label" if part.label_folder else f"do not end with {part.suffix}"
        print(
            f"Warning: {name}: {len(part.others)} images {why} and are not used, the first is "
            f"{part.others[0]}.",
            file=sys.stderr,
        )


def _tell_next(config: Path, plan: Plan) -> None:
    shown = config.relative_to(Path.cwd()) if config.is_relative_to(Path.cwd()) else config
    run, pictures = f"work_dirs/{plan.name}", plan.target.folder
    file, run, images = (shlex.quote(str(one)) for one in (shown, run, pictures))
    print(f"Written: {shown.parent}. Next:")
    print(as_called("  python tools/doctor.py"), file)
    print(as_called("  python tools/train.py"), file)
    print(as_called("  python tools/infer.py"), f"{run} {images} --out predictions")
