"""Messages for users have one style: sentences with full stops, and the fix by name."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from mmseg_uda.errors import MachineError, UserError, require_choice
from mmseg_uda.findings import Finding

ROOT = Path(__file__).parents[1]
FILES = [
    *(path for room in ("mmseg_uda", "tools") for path in (ROOT / room).rglob("*.py")),
    *ROOT.glob("*.py"),
]
HELPERS = {"Finding": (2, 3), "_idle": (1, 3), "_problem": (0, 2), "warning": (0, 2)}
KINDS = {*HELPERS, "UserError", "MachineError", "NotReady", "OtherSettings", "NonFiniteError"}
# A command to copy has no full stop behind it.
COMMAND = re.compile(r"(^|[:;&(] ?)(python|pip|git|rm|mv) ((?!\. ).)*$")


def calls(tree):
    """Calls that make a message, each with the function that it stands in."""
    inside = [(tree, None)]
    for node, function in inside:
        for child in ast.iter_child_nodes(node):
            here = child if isinstance(child, ast.FunctionDef) else function
            inside.append((child, here))
            if isinstance(child, ast.Call) and ast.unparse(child.func) in KINDS:
                yield child, here


def texts(node, function, module):
    """The literals that an argument may be; a name stands for what is assigned to it."""
    if isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from (t for n in (node.body, node.orelse) for t in texts(n, function, module))
    elif isinstance(node, ast.BoolOp):
        yield from (t for n in node.values for t in texts(n, function, module))
    elif isinstance(node, ast.Name):
        local = ast.walk(function) if function else ()
        for one in (*local, *module.body):
            named = isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == node.id
            if named and not isinstance(one.value, ast.Name):
                yield from texts(one.value, function, module)


def ending(text):
    """The words that a literal ends with; None where a value stands there."""
    last = text.values[-1] if isinstance(text, ast.JoinedStr) else text
    return last.value if isinstance(last, ast.Constant) else None


def beginning(text):
    """The words that a literal begins with; None where a value stands there."""
    first = text.values[0] if isinstance(text, ast.JoinedStr) else text
    return first.value if isinstance(first, ast.Constant) else None


def told(path):
    """What a file says to users, as literals, and whether it is what to do about it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call, function in calls(tree):
        first, behind = HELPERS.get(ast.unparse(call.func), (0, 1))
        given = list(call.args[first:behind])
        given += [k.value for k in call.keywords if k.arg in ("message", "fix")]
        fixes = [k.value for k in call.keywords if k.arg == "fix"]
        fixes += call.args[behind - 1 : behind] if behind > first + 1 else []
        for node in given:
            for text in texts(node, function, tree):
                yield f"{path.relative_to(ROOT)}:{text.lineno}", text, node in fixes


@pytest.fixture(scope="module")
def all_told():
    return [one for path in FILES for one in told(path)]


def test_every_sentence_ends_with_a_full_stop(all_told):
    ends = [(place, ending(text)) for place, text, _ in all_told]
    assert [
        f"{place}: …{words[-40:]}"
        for place, words in ends
        if words and words[-1] not in ".!?:\n" and not COMMAND.search(words)
    ] == []


def test_every_fix_begins_with_a_capital(all_told):
    """Values, keys and commands to copy may stand first."""
    begins = [(place, beginning(text) or "") for place, text, fix in all_told if fix]
    assert [
        f"{place}: {words[:40]}…"
        for place, words in begins
        if re.match(r"[a-z]+[ ,:]", words) and not words.startswith(("python ", "pip ", "mv "))
    ] == []


@pytest.mark.parametrize("kind", [UserError, MachineError, Finding])
def test_the_fix_is_given_by_name(kind):
    assert inspect.signature(kind).parameters["fix"].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_choice_is_told_with_all_that_there_are():
    require_choice("uda.masking.mode", None, (None, "block"))
    with pytest.raises(UserError) as caught:
        require_choice("uda.masking.mode", "blok", ("block", "random"))
    assert str(caught.value) == (
        "uda.masking.mode='blok' is unknown.\n  Fix: Use one of block, random."
    )
