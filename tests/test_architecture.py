"""Imports go one way, as docs/architecture.md shows them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mmseg_uda"
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
FLOORS = {room: int(floor) for floor, room in re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.M)}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported(name, path):
    """Modules of the package that a module imports, also inside functions and for types alone."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield from (m for m in (full if full in MODULES else base,) if m in MODULES)


GRAPH = {name: set(imported(name, path)) - {name} for name, path in MODULES.items()}


def floor(name):
    """Of a module; those beside rooms are on the lowest, what loads or starts all above all."""
    parts = name.split(".")
    if name in ("mmseg_uda.register_all", "mmseg_uda.__main__"):
        return max(FLOORS.values()) + 1
    is_room = len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
    return FLOORS[parts[1]] if is_room else 0


def test_every_room_is_on_the_page():
    rooms = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert rooms == set(FLOORS)


def test_a_room_uses_what_is_below_it():
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if name.split(".")[:2] != other.split(".")[:2]
        and other not in ("mmseg_uda", "mmseg_uda.register_all")
        and floor(other) >= max(floor(name), 1)
    ]
    assert wrong == []


def test_there_is_no_circle():
    state = {}

    def visit(name, way):
        state[name] = "open"
        for other in sorted(GRAPH[name]):
            # A module runs the __init__ of its package first: to name it is no circle of its own.
            if name.startswith(f"{other}."):
                continue
            if state.get(other) == "open":
                pytest.fail(" -> ".join([*way[way.index(other) :], other]))
            if other not in state:
                visit(other, [*way, other])
        state[name] = "done"

    for name in sorted(GRAPH):
        if name not in state:
            visit(name, [name])


def test_the_page_names_files_and_functions_that_exist():
    for path in re.findall(r"\b(?:engine|self_training)/\w+\.py", PAGE):
        assert (PACKAGE / path).is_file(), path
    files = ("self_training/self_training.py", "self_training/host.py")
    step = "".join((PACKAGE / path).read_text(encoding="utf-8") for path in files)
    for method in ("read_batches", "label_target", "source_losses", "compose", "mix_losses"):
        assert f"def {method}" in step and method in PAGE
    from mmseg_uda.self_training import Component

    stages = set(re.findall(r"components: ([\w, ]+)", PAGE.replace("\n" + " " * 58, " ")))
    named = {name.strip() for stage in stages for name in stage.split(",")}
    assert named and all(callable(getattr(Component, name)) for name in named)


SCRIPTS = {*ROOT.glob("*.py"), *ROOT.glob("tools/**/*.py")} - {ROOT / "setup.py"}


@pytest.mark.parametrize("path", sorted(SCRIPTS), ids=lambda path: path.stem)
def test_scripts_are_thin_fronts(path):
    """Their code is in the package, where the rules above, mypy and ``mmseg-uda`` see it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    code = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.With)
    assert [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, code)] == []


def test_files_can_be_read_at_a_sitting():
    """What grows beyond is split by job."""
    lengths = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: n for name, n in lengths.items() if n > 350} == {}
    assert sorted(lengths.values())[len(lengths) // 2] <= 130


def test_the_order_of_a_step_fits_on_a_page():
    """``SelfTraining.run_step`` and the methods of its file that it reaches: 60 lines in all."""
    tree = ast.parse((PACKAGE / "self_training/self_training.py").read_text(encoding="utf-8"))
    (host,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    methods = {node.name: node for node in host.body if isinstance(node, ast.FunctionDef)}
    reached, waiting = set(), {"run_step"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        used = {n.attr for n in ast.walk(methods[name]) if isinstance(n, ast.Attribute)}
        waiting |= (used & methods.keys()) - reached - {"adapts"}
    assert reached == {"run_step", "label_target", "compose", "mix_losses"}
    lengths = [methods[name].end_lineno - methods[name].lineno + 1 for name in reached]
    assert sum(lengths) <= 60
