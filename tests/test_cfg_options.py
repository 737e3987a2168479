"""Options of the command line that fit no config end in one message with the nearest key."""

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_uda.cfg_options import arguments, merge_options, parse_options
from mmseg_uda.cli import run_tool
from mmseg_uda.engine.runner import Runner
from mmseg_uda.errors import UserError

HEAD = dict(
    type="DLV2Head", in_channels=8, channels=8, num_classes=19, in_index=0, dilations=(6, 12)
)


def test_values_are_read_as_python_writes_them():
    read = parse_options(["a.b=0.5", "c=None", "d=[1,2]", "e=text", "f=x=y"])
    assert read == {"a.b": 0.5, "c": None, "d": [1, 2], "e": "text", "f": "x=y"}


@pytest.mark.parametrize("wrong", ["uda.alpha", "=1"])
def test_an_option_of_another_form_is_refused(wrong):
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_options([wrong])


def test_a_key_that_nothing_reads_is_answered_with_the_nearest():
    config = Config(dict(uda=dict(alpha=0.9)))
    with pytest.raises(UserError, match="'usa'") as caught:
        merge_options(config, {"usa.alpha": 0.5}, "c.py")
    assert "Did you mean uda?" in caught.value.fix
    assert config.uda.alpha == 0.9


def test_keys_of_the_config_and_of_the_runner_are_taken():
    config = Config(dict(mine=1, uda=dict(alpha=0.9)))
    merge_options(config, {"mine": 2, "uda.alpha": 0.5, "load_from": "a.pth"}, "c.py")
    assert (config.mine, config.uda.alpha, config.load_from) == (2, 0.5, "a.pth")


def test_a_misspelled_key_of_a_network_is_told_with_its_class(capsys):
    def main():
        MODELS.build({**HEAD, "num_clases": 1})

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert "'num_clases'" in message and "DLV2Head" in message
    assert "Did you mean num_classes?" in message


def test_a_mistake_of_the_code_keeps_its_traceback():
    def broken():
        raise TypeError("f() got an unexpected keyword argument 'x'")

    with pytest.raises(TypeError, match="unexpected"):
        run_tool(broken)


def test_arguments_are_those_of_the_bases_too():
    class Base:
        def __init__(self, a, *, b=1): ...

    class Derived(Base):
        def __init__(self, c, **kwargs): ...

    assert arguments(Derived) == {"a", "b", "c"}
    assert arguments(Base) == {"a", "b"}


def test_a_misspelled_key_of_a_loader_is_told_before_the_data_is_looked_for():
    with pytest.raises(UserError, match="batch_sise") as caught:
        Runner.build_dataloader(dict(batch_sise=1, dataset=dict(type="GTA", data_root="absent")))
    assert "batch_size" in caught.value.fix
