"""Options of components and trainers: what a config may say, checked when they are built."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mmseg_uda.cfg_options import nearest
from mmseg_uda.errors import UserError, require_choice


def check_options(cls: type, config: Mapping[str, Any], where: str) -> None:
    """Raises unless every key of ``config`` is an argument of ``cls``.

    Args:
        cls: Class to be built.
        config: Its config; ``type`` is left out of the check.
        where: Place of the config, e.g. ``uda.masking``.

    Raises:
        UserError: Names the unknown key and the nearest known one.
    """
    parameters = inspect.signature(cls).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for key in config:
        if key != "type" and key not in parameters:
            raise UserError(
                f"{where}.{key} is no option of {cls.__name__}.",
                fix=f"{nearest(key, parameters, where)}Known: {', '.join(parameters)}.",
            )


def _is_number(value: Any) -> bool:
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return right and math.isfinite(value)


# By the type that a field is annotated with: what it may be, and how that is called.
KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "int": (lambda value: _is_number(value) and value == int(value), "a whole number"),
    "float": (_is_number, "a number"),
    "bool": (lambda value: value in (True, False), "True or False"),
    "str": (lambda value: isinstance(value, str), "a text"),
}


@dataclass(frozen=True)
class Options:
    """Base of the options of a component, a trainer or a group inside them.

    A subclass is a frozen dataclass with a default and a docstring for every field; where a
    default deviates from the published code, the docstring says so. Values of another type than a
    number's, a text's or a switch's field are refused, and in :meth:`check` what cannot work.
    """

    #: Where the options stand in a config, for messages.
    KEY: ClassVar[str] = "uda"

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = getattr(field.type, "__name__", str(field.type))
            right, expected = KINDS.get(kind.removesuffix(" | None"), (None, ""))
            value = getattr(self, field.name)
            if right is not None and not (kind.endswith("None") and value is None):
                self.require(field.name, right(value), expected)
        self.check()

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work, alone or together."""

    def require(self, name: str, right: bool, expected: str) -> None:
        """Raises unless the option ``name`` is right.

        Raises:
            UserError: Names the option, its value and what is expected.
        """
        if not right:
            value = getattr(self, name)
            raise UserError(
                f"{self.KEY}.{name}={value!r} is not possible.", fix=f"Give {expected}."
            )

    def require_choice(self, name: str, choices: Iterable[Any]) -> None:
        """Raises a ``UserError`` unless the option ``name`` is one of the choices."""
        require_choice(f"{self.KEY}.{name}", getattr(self, name), choices)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(field.name for field in fields(cls))


@dataclass(frozen=True)
class NoOptions(Options):
    """Of a component without options."""


def sign(cls: type, base: type, options: type[Options], more: bool = False) -> None:
    """Gives a class whose constructor takes ``**options`` the signature of its options.

    Whoever looks for the arguments of a class (:func:`check_options`, ``help``) finds them.

    Args:
        cls: The class.
        base: The class above it that reads the options.
        options: Their class.
        more: Whether it takes further keys.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__[: cls.__mro__.index(base) + 1]:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
        rest = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
        found = {**{p.name: p for p in parameters if p not in rest}, **found}
        if not rest:  # a constructor of its own, which hands nothing on
            break
    else:
        found |= {
            p.name: p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for p in inspect.signature(options).parameters.values()
        }
        if more:
            found[rest[0].name] = rest[0]
    cls.__signature__ = inspect.Signature(list(found.values()))  # type: ignore[attr-defined]


def read_group(cls: type[Any], config: Mapping[str, Any] | None) -> Any:
    """Builds a group of options that stands inside others.

    Args:
        cls: Its class, an ``Options`` with its own ``KEY``.
        config: As in the config; None stands for the defaults.

    Raises:
        UserError: For an unknown key or an impossible value.
    """
    if config is not None and not isinstance(config, Mapping):
        known = ", ".join(f"{name}=..." for name in cls.names())
        raise UserError(
            f"{cls.KEY}={config!r} is no group of options.", fix=f"Give some of dict({known})."
        )
    config = dict(config or {})
    check_options(cls, config, cls.KEY)
    return cls(**config)
