"""What every final config keeps to: short, flat, and nothing said twice."""

import ast
from copy import deepcopy
from functools import cache

import pytest
from mmengine.config import Config, ConfigDict

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.apis.config_view import defaults_of
from mmseg_uda.cfg_options import TOP_LEVEL
from mmseg_uda.config_files import BASES, ROOT, base_files, config_chain, final_configs
from mmseg_uda.experiments.grid import Base

FINAL = final_configs()
LINES, FILES, LEVELS = 25, 7, 2
NETWORK_CHAIN = 2
# A network that no paper's table trains.
AWAITED = ("dlv2_",)


def name(path):
    return str(path.relative_to(ROOT / "configs"))


def levels(path):
    return 1 + max(map(levels, base_files(path)), default=0)


@pytest.mark.parametrize("path", FINAL, ids=name)
def test_it_is_one_short_page_over_few_flat_bases(path):
    assert len(path.read_text().splitlines()) <= LINES
    assert len(set(config_chain(path))) <= FILES
    assert levels(path) <= LEVELS


def test_no_chain_of_networks_is_longer_than_two():
    assert max(map(levels, (BASES / "networks").glob("*.py"))) <= NETWORK_CHAIN


def test_every_base_file_is_reached(tables):
    reached = {base.resolve() for path in FINAL for base in config_chain(path)}
    for row in (row for table in tables for row in table.rows):
        named = (value for value in row.changes.values() if isinstance(value, Base))
        reached |= {BASES / f"{value.file}.py" for value in named}
    left = set(BASES.glob("*/*.py")) - reached - set((BASES / "execution").glob("*.py"))
    assert [p.name for p in left if not p.name.startswith(AWAITED)] == []


@cache
def bases_of(path):
    """What a final config's bases say together, as mmengine merges them."""
    merged = ConfigDict()
    for base in base_files(path):
        merged.update(Config.fromfile(base, import_custom_modules=False)._cfg_dict)
    return merged


def resolve(path, tree):
    """The config that a syntax tree in place of the file gives."""
    bases = deepcopy(bases_of(path))
    names = {"_base_": bases}
    exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), names)
    own = {k: v for k, v in names.items() if k not in ("_base_", "__builtins__")}
    merged = Config._merge_a_into_b(ConfigDict(own), bases)
    return with_defaults({key: merged[key] for key in merged if key in TOP_LEVEL})


def with_defaults(value):
    """The config with the defaults of all its classes written out."""
    if isinstance(value, dict):
        filled = {key: with_defaults(one) for key, one in value.items()}
        return defaults_of(value) | filled
    if isinstance(value, (list, tuple)):
        return [with_defaults(one) for one in value]
    return value


def without_each_key(source):
    """Pairs of a key and the file's syntax tree without it."""
    count = sum(len(keys) for _, keys in sayings(ast.parse(source)))
    for number in range(count):
        tree = ast.parse(source)
        places = [(keys, i) for _, keys in sayings(tree) for i in range(len(keys))]
        keys, index = places[number]
        removed = keys.pop(index)
        label = ast.unparse(removed) if isinstance(removed, ast.stmt) else removed.arg
        yield label, tree


def sayings(tree):
    """The statements of a file but ``_base_``, and the keyword arguments of every dict(...)."""
    body = [s for s in tree.body if ast.unparse(s.targets[0]) != "_base_"]
    tree.body = body
    yield tree, body
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
            yield node, node.keywords


@pytest.mark.parametrize("path", FINAL, ids=name)
def test_nothing_is_said_that_a_base_or_a_default_says(path):
    source = path.read_text()
    tree = ast.parse(source)
    list(sayings(tree))  # takes _base_ away
    complete = resolve(path, tree)
    for label, shorter in without_each_key(source):
        try:
            changed = resolve(path, shorter) != complete
        except (AttributeError, KeyError, TypeError, NameError):
            changed = True  # it cannot be left out
        assert changed, f"{label} changes nothing"
