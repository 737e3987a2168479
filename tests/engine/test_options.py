"""Values of another type than an option's are refused by its key, in every method."""

import math
from dataclasses import dataclass, fields

import pytest

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.options import KINDS, Options
from mmseg_uda.errors import UserError
from mmseg_uda.self_training.options import SelfTrainingOptions

WRONG = {
    "int": ("many", None, True, [1], 1.5, math.nan, math.inf),
    "float": ("high", None, True, [0.5], math.nan, -math.inf),
    "bool": ("yes", None, 2, [True]),
    "str": (7, None, True, ["batch"]),
}
NEEDED = {"bank": "bank", "mapping": [{"a": ["b"]}]}


def all_options(cls=Options):
    for below in cls.__subclasses__():
        yield from [below] if below.__module__.startswith("mmseg_uda.") else []
        yield from all_options(below)


@pytest.mark.parametrize("cls", all_options(), ids=lambda cls: cls.__name__)
def test_another_type_is_refused_by_its_key(cls):
    needed = {field.name: NEEDED[field.name] for field in fields(cls) if field.name in NEEDED}
    for field in fields(cls):
        kind, _, optional = str(field.type).partition(" | ")
        for value in WRONG[kind] if kind in KINDS and optional in ("", "None") else ():
            if optional and value is None:
                continue
            with pytest.raises(UserError) as error:
                cls(**{**needed, field.name: value})
            assert error.value.message.startswith(f"{cls.KEY}.{field.name}={value!r} is not")


def test_numbers_may_be_written_in_any_way():
    @dataclass(frozen=True)
    class Own(Options):
        steps: int = 1
        share: float = 0.5
        name: "str | None" = None

    assert Own(steps=2e4, share=1, name=None).steps == 20000
    with pytest.raises(UserError, match=r"uda\.steps=0\.5 is not possible"):
        Own(steps=0.5)


@pytest.mark.parametrize(
    "name, value",
    [
        ("alpha", 2),
        ("alpha", -0.1),
        ("pseudo_threshold", -1),
        ("jitter_probability", 1.5),
        ("blur_probability", -0.5),
        ("jitter_strength", 3),
        ("pseudo_weight_ignore_top", -5),
        ("target_start", -1),
    ],
)
def test_numbers_of_self_training_that_cannot_be(name, value):
    with pytest.raises(UserError, match=rf"uda\.{name}={value} is not possible"):
        SelfTrainingOptions(**{name: value})
