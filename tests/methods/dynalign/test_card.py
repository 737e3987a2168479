"""The signatures on the README card are those of the code."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import mmseg_uda.methods.dynalign as package

CARD = Path(package.__file__).parent / "README.md"


def entries():
    """Module, dotted name and parameters of every line of the card that calls something."""
    block = CARD.read_text().split("## Functions")[1].split("```python\n")[1].split("```")[0]
    module = ""
    for line in block.splitlines():
        if found := re.match(r"# (mmseg_uda[\w.]*):? ?", line):
            module = found[1]
        elif found := re.match(r"([A-Za-z_][\w.]*)\((.*?)\)(?=  #|$)", line):
            yield module, found[1], found[2]


def defaults(arguments: ast.arguments) -> dict:
    names = [argument.arg for argument in arguments.args]
    values = [ast.literal_eval(value) for value in arguments.defaults]
    required = [inspect.Parameter.empty] * (len(names) - len(values))
    return dict(zip(names, required + values, strict=True))


def test_the_card_lists_functions():
    assert len(list(entries())) > 25


@pytest.mark.parametrize(("module", "name", "given"), list(entries()), ids=lambda v: v)
def test_a_signature_is_the_one_of_the_code(module, name, given):
    function = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    written = ast.parse(f"def f({given}): ...").body[0]
    assert isinstance(written, ast.FunctionDef)
    found = inspect.signature(function).parameters
    assert defaults(written.args) == {key: value.default for key, value in found.items()}
