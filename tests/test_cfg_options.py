"""Options of the command line that fit no config end in one message with the nearest key."""

import argparse
import errno
import os

import fixed_run  # noqa: F401
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import LoggerHook
from mmseg.registry import DATA_SAMPLERS, HOOKS, MODELS, OPTIMIZERS, PARAM_SCHEDULERS

from mmseg_uda.cfg_options import add_config_flag, arguments, merge_options, parse_options
from mmseg_uda.cli import run_tool
from mmseg_uda.engine.runner import AdaptationRunner
from mmseg_uda.errors import UserError

HEAD = dict(
    type="DLV2Head", in_channels=8, channels=8, num_classes=19, in_index=0, dilations=(6, 12)
)


def test_values_are_read_as_python_writes_them():
    read = parse_options(["a.b=0.5", "c=None", "d=[1,2]", "e=text", "f=x=y"])
    assert read == {"a.b": 0.5, "c": None, "d": [1, 2], "e": "text", "f": "x=y"}


@pytest.mark.parametrize("wrong", ["uda.alpha", "=1", "uda..alpha=1", "uda.=1"])
def test_an_option_of_another_form_is_refused(wrong):
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_options([wrong])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{0:1,1:0}", {0: 1, 1: 0}),
        ("{'mask_ratio': 0.5, \"a b\": None}", {"mask_ratio": 0.5, "a b": None}),
        ("dict(scale=(2, -1e-3), on=True)", {"scale": (2, -0.001), "on": True}),
        ("[{type: A, at: [1]}, {type: B}]", [{"type": "A", "at": [1]}, {"type": "B"}]),
        ("{a: {b: (1,2)}}", {"a": {"b": (1, 2)}}),
        ("1,2", [1, 2]),
        ("(1,2),(3,4)", [(1, 2), (3, 4)]),
        ("-4e-5", -4e-5),
        ("'5'", "5"),
        ('"a, b"', "a, b"),
        ("/my data/x:y", "/my data/x:y"),
        ("f(1,2)", "f(1,2)"),
        ("", ""),
        ("{}", {}),
    ],
)
def test_dicts_texts_and_numbers(text, value):
    (read,) = parse_options([f"a={text}"]).values()
    assert repr(read) == repr(value)  # 1 and 1.0 and True are equal


@pytest.mark.parametrize(
    "text",
    [
        *("{0:1", "{0}", "{0:}", "[1,2", "1]", "[1]2", "'a", "{0:1,0:2}", "[1,,2]", "(]"),
        pytest.param("[" * 9999, id="nested"),
    ],
)
def test_what_cannot_be_read_says_how_to_write_it(text):
    with pytest.raises(UserError, match=r"--cfg-options .a=.* cannot be read: ") as caught:
        parse_options([f"a={text}"])
    assert "'uda.masking={mask_ratio: 0.5, mask_block_size: 64}'" in caught.value.fix
    assert len(str(caught.value)) < 500


def test_a_dict_that_the_shell_has_split_is_told():
    """A shell makes two words of label_map={0:1,1:0}."""
    with pytest.raises(UserError, match=r"label_map two values, '0:1' and '1:0'") as caught:
        parse_options(["label_map=0:1", "label_map=1:0"])
    assert "quotes" in caught.value.fix
    assert parse_options(["a=1", "a=1"]) == {"a": 1}


def test_an_option_given_twice_counts_twice():
    parser = argparse.ArgumentParser()
    add_config_flag(parser)
    given = parser.parse_args(["--cfg-options", "a=1", "b=2", "--cfg-options", "c=3"])
    assert given.cfg_options == ["a=1", "b=2", "c=3"]


def merged(*options):
    source = dict(label_map={7: 0}, pipeline=[dict(type="A"), dict(type="B", size=1)])
    config = Config(dict(uda=dict(masking=dict(ratio=0.7, side=64), relabel=None), data=source))
    merge_options(config, parse_options(options), "c.py")
    return Config.fromstring(config.pretty_text, ".py").to_dict()  # as a run records it


class TestMerging:
    """Dicts and numbers in keys."""

    def test_a_dict_changes_what_it_names(self):
        assert merged("uda.masking={ratio: 0.5}")["uda"]["masking"] == dict(ratio=0.5, side=64)
        assert merged("uda={masking: dict(side=8)}")["uda"]["masking"] == dict(ratio=0.7, side=8)
        assert merged("uda.masking={_delete_: True, n: 1}")["uda"]["masking"] == dict(n=1)

    def test_a_dict_where_there_was_none(self):
        assert merged("uda.relabel={a: [{b: 1}]}")["uda"]["relabel"] == dict(a=[dict(b=1)])
        assert merged("uda.relabel.a.b=1")["uda"]["relabel"] == dict(a=dict(b=1))

    def test_numbers_are_keys_of_label_maps(self):
        assert merged("data.label_map={0:1,1:0}")["data"]["label_map"] == {7: 0, 0: 1, 1: 0}
        assert merged("data.label_map.0=1")["data"]["label_map"] == {7: 0, 0: 1}
        assert merged("data.other_map.0=1")["data"]["other_map"] == {0: 1}

    def test_numbers_are_places_in_lists(self):
        pipeline = [dict(type="A"), dict(type="B", size=(2, 3))]
        assert merged("data.pipeline.1.size=(2,3)")["data"]["pipeline"] == pipeline
        assert merged("data.pipeline={1: {size: (2,3)}}")["data"]["pipeline"] == pipeline
        assert merged("data.pipeline.0=None")["data"]["pipeline"][0] is None

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            ("data.pipeline.2.size=1", "2 is none of the 2 entries"),
            ("data.pipeline.first.size=1", "first is none of the 2 entries"),
            ("uda.masking.ratio.x=1", "ratio is 0.7, which has no keys"),
            ("uda.masking={}", "changes nothing of masking"),
        ],
    )
    def test_what_does_not_fit_names_key_and_config(self, option, told):
        with pytest.raises(UserError, match=rf"{option.partition('=')[0]} .*c\.py.*{told}"):
            merged(option)


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


class TestVariables:
    """What a config file computed with is in other keys already."""

    TEXT = (
        "crop, steps = (96, 64), 600\n"
        "model = dict(size=crop)\n"
        "train_cfg = dict(max_iters=steps)\n"
        "seen = 600\n"
        "taxonomy = 'two.yaml'\n"
        "uda = dict(taxonomy=taxonomy)\n"
    )

    def change(self, tmp_path, key):
        path = tmp_path / "c.py"
        path.write_text(self.TEXT)
        config = Config.fromfile(str(path))
        merge_options(config, {key: 7}, path)
        return config

    @pytest.mark.parametrize(
        ("key", "place"),
        [
            ("crop", "model.size"),
            ("steps", "train_cfg.max_iters"),
            ("taxonomy", "uda.taxonomy"),
        ],
    )
    def test_a_change_of_one_would_change_nothing(self, tmp_path, key, place):
        with pytest.raises(UserError, match=rf"--cfg-options {key}: '{key}' is a variable") as told:
            self.change(tmp_path, key)
        assert told.value.fix.endswith(f"name those keys: {place}.")

    def test_a_number_that_happens_to_be_elsewhere_is_no_variable(self, tmp_path):
        assert self.change(tmp_path, "seen").seen == 7


def test_a_misspelled_key_of_a_network_is_told_with_its_class(capsys):
    def main():
        MODELS.build({**HEAD, "num_clases": 1})

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert "'num_clases'" in message and "DLV2Head" in message
    assert "Did you mean num_classes?" in message


def test_a_full_disk_is_no_matter_of_options(capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runs/log")

    monkeypatch.setattr(LoggerHook, "__init__", full)
    with pytest.raises(SystemExit):
        run_tool(lambda: HOOKS.build(dict(type="LoggerHook")))
    assert "No space left to write /runs/log" in capsys.readouterr().err


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
        AdaptationRunner.build_dataloader(
            dict(batch_sise=1, dataset=dict(type="GTA", data_root="absent"))
        )
    assert "batch_size" in caught.value.fix


def test_options_of_workers_are_nothing_to_a_loader_without():
    loader = dict(batch_size=1, num_workers=0, persistent_workers=True, prefetch_factor=4)
    loader.update(dataset=dict(type="FixedBatches"), sampler=dict(type="DefaultSampler"))
    assert AdaptationRunner.build_dataloader(loader).num_workers == 0


@pytest.mark.parametrize(
    "registry, config, told",
    [
        (DATA_SAMPLERS, dict(type="DefaultSampIer"), "Did you mean DefaultSampler?"),
        (PARAM_SCHEDULERS, dict(type="PolyLr"), "Did you mean PolyLR?"),
        (HOOKS, dict(type="LoggerHook", interval="often"), "LoggerHook cannot be built"),
        (
            OPTIMIZERS,
            dict(type="AdamW", params=[torch.zeros(1)], betas=(1, 2)),
            "AdamW cannot be built from its config: Invalid beta",
        ),
        (
            OPTIMIZERS,
            dict(type="SGD", params=[torch.zeros(1)], momentum="much"),
            "SGD cannot be built from its config",
        ),
    ],
)
def test_whatever_mmengine_and_torch_do_not_take_is_one_message(capsys, registry, config, told):
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: registry.build(config))
    assert ended.value.code == 2 and told in capsys.readouterr().err
