"""What messages, help texts and docstrings send a reader to is there: files, configs, commands."""

import ast
import re
from pathlib import Path

import pytest

from mmseg_uda.config_files import CONFIGS, ENDINGS

ROOT = Path(__file__).parents[1]
FILES = [
    *sorted((ROOT / "mmseg_uda").rglob("*.py")),
    *sorted((ROOT / "tools").rglob("*.py")),
    *sorted(ROOT.glob("*.py")),
]
UNKNOWN = "\0"  # stands for what only a running program knows
FOLDERS = ("tools", "docs", "configs", "tests", "mmseg_uda", "constraints.txt", "Makefile")
PATH = re.compile(rf"(?<![\w/.\-\0])(?:{'|'.join(FOLDERS)})(?:/[\w.*\-]+)+/?(?![\w\0/])")
SCRIPT = re.compile(r"(?:python|torchrun|sh) (?:-m )?(?!-)([\w/.]+\.(?:py|sh))(?![\w\0])")
CONFIG = re.compile(r"mmseg_uda::([\w/\-]+(?:\.py)?)(?![\w\0/])")
FLAG = re.compile(r"(?<![\w\-\0])--[a-z][\w\-]*(?![\w\-\0])")
EXTRA = re.compile(r"pip install [^\n]*\.\[(\w+)\]")
TARGET = re.compile(r"(?:^|\s)make (demo|test|lint|install|\w+-gpu)\b")
# Of argparse, torchrun, the hub's client and docker.
FOREIGN = {"--help", "--nproc_per_node", "--local-dir", "--shm-size", "--ipc"}


def texts(tree):
    """Every text of a module with its line; parts that are computed are UNKNOWN."""
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
            parts = [getattr(part, "value", None) for part in node.values]
            known = (p if isinstance(p, str) else UNKNOWN for p in parts)
            yield node.lineno, "".join(known)
        elif isinstance(getattr(node, "value", None), str) and id(node) not in inside:
            yield node.lineno, node.value


def is_there(name):
    path = ROOT / name.rstrip("/.")
    if "*" in name:
        return any(ROOT.glob(name))
    return path.exists() or path.with_name(f"{path.name}.py").exists()


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
TEXTS = [
    (path.relative_to(ROOT), line, text)
    for path, tree in TREES.items()
    for line, text in texts(tree)
]


def missing(pattern, exists):
    return [
        f"{path}:{line}: {found}"
        for path, line, text in TEXTS
        for found in pattern.findall(text)
        if not exists(found)
    ]


def fixes():
    """Texts in ``fix=`` and in what is returned by functions that make them."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "fix":
                for line, text in texts(node.value):
                    yield path.relative_to(ROOT), line, text


def test_there_are_fixes_with_files_and_commands():
    found = [text for _, _, text in fixes()]
    assert len(found) > 300
    assert sum(bool(PATH.search(text)) for text in found) > 15
    assert sum(bool(FLAG.search(text)) for text in found) > 60


def test_files_and_configs():
    assert missing(PATH, is_there) == []


def test_scripts():
    assert missing(SCRIPT, lambda name: (ROOT / name).is_file() or "/" not in name) == []


def test_configs_of_the_package():
    def exists(name):
        return any((CONFIGS / f"{name}{end}").is_file() for end in ("", *ENDINGS))

    assert missing(CONFIG, exists) == []


def test_options():
    known = set(FOREIGN)
    for tree in TREES.values():
        for node in ast.walk(tree):
            values = node.args if isinstance(node, ast.Call) else []
            values = [node.value] if isinstance(node, ast.Assign) else values  # named constants
            given = [value.value for value in values if isinstance(value, ast.Constant)]
            known |= {one for one in given if isinstance(one, str) and one.startswith("--")}
    wrong = [
        f"{path}:{line}: {flag}"
        for path, line, text in fixes()
        for flag in FLAG.findall(text)
        if flag not in known
    ]
    assert wrong == []


def test_extras_and_targets():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert missing(EXTRA, lambda name: f'"{name}": ' in setup) == []
    assert missing(TARGET, lambda name: re.search(rf"^{name}:", rules, re.M)) == []


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("see docs/nowhere.md.", PATH, ["docs/nowhere.md."]),
        ("configs/mic/none.py is", PATH, ["configs/mic/none.py"]),
        (f"below configs/mic/{UNKNOWN}", PATH, []),
        ("run: python tools/none.py data", SCRIPT, ["tools/none.py"]),
        ("give --no-such-option N", FLAG, ["--no-such-option"]),
    ],
)
def test_what_is_looked_for(text, pattern, found):
    assert pattern.findall(text) == found
    assert not any(map(is_there, found)) or pattern is FLAG
