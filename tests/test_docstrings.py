"""Docstrings of functions say what a function does in the third person, one voice everywhere."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [*(ROOT / "mmseg_uda").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
IMPERATIVE = re.compile(
    r"(Add|Append|Apply|Ask|Bring|Build|Check|Choose|Close|Compare|Compile|Compute|Convert|Copy|"
    r"Decide|Decode|Draw|Encode|Evaluate|Fill|Find|Finish|Give|Initialise|Keep|Let|Load|Make|Open|"
    r"Predict|Print|Put|Raise|Read|Remove|Rename|Replace|Resize|Resolve|Restore|Return|Run|Save|"
    r"Send|Show|Switch|Take|Tell|Train|Turn|Update|Wait|Write)\b(?! of\b|-)"
)


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", text


def test_functions_are_described_in_the_third_person():
    found = [f"{at}: {text[:30]}" for p in FILES for at, text in functions(p)
             if IMPERATIVE.match(text)]  # fmt: skip
    assert found == []
