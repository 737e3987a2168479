"""Drill: a checkpoint whose config names code. It is data: nothing of it runs."""

import logging
import pickle
import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import Registry
from mmseg.registry import MODELS
from trained_nano import save_trained, trained_config
from traps import Trap

from mmseg_uda.apis import Predictor, init_segmentor, publish
from mmseg_uda.engine.data_config import carried_config, registered_types_only
from mmseg_uda.errors import UserError
from mmseg_uda.models.segmentors import SlideEncoderDecoder


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A checkpoint as a training leaves it behind."""
    path = tmp_path_factory.mktemp("honest") / "honest.pth"
    save_trained(trained_config("daformer", "nowhere"), path)
    return path


@pytest.fixture
def victim(tmp_path):
    return tmp_path / "the_trap_has_sprung"


@pytest.fixture
def module(tmp_path, monkeypatch, victim):
    """A package and a module that touch a file when they are imported."""
    line = f"import pathlib; pathlib.Path({str(victim)!r}).touch()\n"
    (tmp_path / "stranger").mkdir()
    for file in ("stranger/__init__.py", "stranger/registry.py", "stranger_module.py"):
        (tmp_path / file).write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("stranger")]:
        del sys.modules[name]


@pytest.fixture
def forged(honest, tmp_path):
    """Writes a checkpoint with another config."""

    def forge(changes=(), text=None):
        content = torch.load(honest, weights_only=True)
        cfg = trained_config("daformer", "nowhere").to_dict()
        for key, value in dict(changes).items():
            owner = cfg
            *parents, last = key.split(".")
            for parent in parents:
                owner = owner[int(parent)] if isinstance(owner, list) else owner[parent]
            owner[last] = value
        lines = "".join(f"{key} = {value!r}\n" for key, value in cfg.items())
        content["meta"]["cfg"] = text or lines
        torch.save(content, tmp_path / "stranger.pth")
        return tmp_path / "stranger.pth"

    return forge


def mkdir(victim):
    return dict(type="os.mkdir", path=str(victim))


PLACES = [
    "model",
    "model.backbone",
    "model.backbone.norm_cfg",
    "model.data_preprocessor",
    "model.decode_head",
    "model.decode_head.norm_cfg",
    "model.decode_head.act_cfg",
    "model.decode_head.loss_decode",
    "model.decode_head.sampler",
    "model.decode_head.decoder_params.fusion_cfg",
    "model.decode_head.decoder_params.fusion_cfg.act_cfg",
    "model.auxiliary_head",
    "model.neck",
    "model.test_cfg.assigner",
    "model.segmentor",
]


def refused(checkpoint, out, words, victim):
    """Neither builds it; nothing has run and nothing is written."""
    for call in (
        lambda: init_segmentor(None, checkpoint, "cpu"),
        lambda: publish(checkpoint, out / "out.pth", write_config=True),
    ):
        with pytest.raises(UserError, match=words) as error:
            call()
        assert str(checkpoint) in str(error.value)
    assert not list(out.glob("out*"))
    assert not victim.exists()


@pytest.mark.parametrize("place", PLACES)
def test_a_function_in_place_of_a_type(forged, tmp_path, victim, place):
    checkpoint = forged({place: mkdir(victim)})
    refused(checkpoint, tmp_path, r"type is 'os.mkdir', which is not registered", victim)


def test_a_function_as_the_whole_configs_preprocessor(forged, tmp_path, victim):
    checkpoint = forged({"model.data_preprocessor": None, "data_preprocessor": mkdir(victim)})
    content = torch.load(checkpoint, weights_only=True)
    # null in place of a preprocessor would still be one
    text = content["meta"]["cfg"].replace("'data_preprocessor': None, ", "")
    refused(forged(text=text), tmp_path, r"data_preprocessor.type is 'os.mkdir'", victim)


def test_a_function_in_a_list_of_losses(forged, tmp_path, victim):
    losses = [dict(type="PixelCrossEntropy"), mkdir(victim)]
    checkpoint = forged({"model.decode_head.loss_decode": losses})
    refused(checkpoint, tmp_path, r"loss_decode\[1\].type is 'os.mkdir'", victim)


@pytest.mark.parametrize("place", ["test_pipeline", "test_dataloader.dataset.pipeline"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_function_among_the_transforms(forged, tmp_path, victim, place, nested):
    step = mkdir(victim)
    step = dict(type="RandomChoice", transforms=[[step]]) if nested else step
    changes = {place: [dict(type="LoadFrame"), step, dict(type="PackFields")]}
    if place == "test_pipeline":
        changes["test_dataloader.dataset.pipeline"] = None
    refused(forged(changes), tmp_path, r"test_pipeline\[1\].*type is 'os.mkdir'", victim)


@pytest.mark.parametrize("kind", ["stranger_module", "stranger.Network", "mmseg.stranger.X", 7, ""])
def test_a_type_that_would_be_imported(forged, tmp_path, victim, module, kind):
    refused(forged({"model.backbone.type": kind}), tmp_path, "which is not registered", victim)


def test_a_scope_that_would_be_imported(forged, tmp_path, victim, module):
    checkpoint = forged({"model.backbone._scope_": "stranger"})
    refused(checkpoint, tmp_path, "_scope_ is 'stranger'", victim)


# mmseg's losses read class weights from files, pickles among them, and from addresses
LOSS = dict(type="CrossEntropyLoss")


@pytest.mark.parametrize(
    "place, value",
    [
        ("model.decode_head.loss_decode", dict(LOSS, class_weight="./weights.pkl")),
        ("model.decode_head.loss_decode", dict(LOSS, class_weight="weights.pkl")),
        ("model.decode_head.loss_decode", dict(LOSS, class_weight="weights.npy")),
        (
            "model.decode_head.loss_decode",
            dict(LOSS, class_weight="http://127.0.0.1:9/weights.pkl"),
        ),
        ("model.backbone.model_name", "hf-hub:stranger/network"),
        ("model.backbone.norm_layer", "os.mkdir"),
        ("model.backbone.cfg", dict(target="os.mkdir", params=dict(path="x"))),
        ("test_dataloader.dataset.pipeline.0.decode_backend", "pickle"),
        ("model.backbone.note", "{{ fileDirname }}"),
    ],
)
def test_files_addresses_and_names_of_code(forged, tmp_path, victim, monkeypatch, place, value):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(Trap(victim)))
    np.save(tmp_path / "weights.npy", np.array([Trap(victim)]), allow_pickle=True)
    monkeypatch.chdir(tmp_path)
    refused(forged({place: value}), tmp_path, r"a file, an address or a name of code", victim)


@pytest.mark.parametrize(
    "key",
    [
        "a': __import__('os').mkdir('{folder}'), 'b",
        'a": __import__("os").mkdir("{folder}"), "b',
        "a\nimport os",
        "__class__",
        "class",
        7,
    ],
)
def test_keys_that_would_become_code(forged, tmp_path, victim, key):
    key = key.format(folder=victim) if isinstance(key, str) else key
    checkpoint = forged(text=f"model = dict(odd={{{key!r}: 1}})\n")
    refused(checkpoint, tmp_path, "model.odd has the key", victim)


def test_strings_stay_strings_in_the_written_config(forged, tmp_path, victim):
    """Quotes, backslashes, line breaks and comments, in the values that a network ignores."""
    nasty = ["'", '"', "\\", "\\'", '"""', "'''", "\n", "#", "\x00", "‮", "{", "}", "') + (", "%s"]
    nasty.append(f"'+__import__('os').mkdir({victim.name!r})+'")
    checkpoint = forged({"crop_size": nasty, "test_dataloader.dataset.pipeline.3.meta_keys": nasty})
    with pytest.raises(UserError, match="a file, an address or a name of code"):
        publish(checkpoint, tmp_path / "out.pth", write_config=True)  # the backslash
    nasty = [text for text in nasty if "\\" not in text]
    checkpoint = forged({"test_dataloader.dataset.pipeline.3.meta_keys": nasty})
    published = publish(checkpoint, tmp_path / "out.pth", write_config=True)
    for written in (
        Config.fromfile(published.with_suffix(".py")),
        carried_config(torch.load(published, weights_only=True), published),
    ):
        assert written.test_pipeline[-1].meta_keys == nasty
    assert not victim.exists()


def test_imports_are_left_out_and_told(forged, tmp_path, victim, module, caplog, monkeypatch):
    imports = dict(imports=["mmseg_uda.register_all", "stranger_module"])
    checkpoint = forged({"custom_imports": imports, "default_scope": "stranger"})
    lines = []
    monkeypatch.setattr(
        "mmseg_uda.engine.data_config.print_log",
        lambda text, logger, level: lines.append((level, text)),
    )
    published = publish(checkpoint, tmp_path / "out.pth", write_config=True)
    ((level, line),) = lines
    assert level == logging.WARNING
    assert str(checkpoint) in line and "'stranger_module'" in line and "register_all" not in line
    Predictor(init_segmentor(None, checkpoint, "cpu"))
    for text in (
        published.with_suffix(".py").read_text(),
        torch.load(published, weights_only=True)["meta"]["cfg"],
    ):
        assert "stranger" not in text and "mmseg_uda.register_all" in text
    runpy.run_path(str(published.with_suffix(".py")))
    assert not victim.exists()


def test_our_own_imports_are_no_news(honest, monkeypatch):
    monkeypatch.setattr(
        "mmseg_uda.engine.data_config.print_log",
        lambda *args, **kwargs: pytest.fail("a warning on an honest checkpoint"),
    )
    init_segmentor(None, honest, "cpu")


def test_what_fetches_is_left_out(forged, tmp_path, victim):
    odd = dict(type="Pretrained", checkpoint="http://127.0.0.1:9/x.pth")
    checkpoint = forged(
        {
            "model.init_cfg": mkdir(victim),
            "model.pretrained": "http://127.0.0.1:9/x.pth",
            "model.decode_head.init_cfg": [odd, dict(mkdir(victim), override=mkdir(victim))],
            "test_dataloader.dataset.pipeline.0.backend_args": dict(backend="petrel"),
        }
    )
    published = publish(checkpoint, tmp_path / "out.pth", write_config=True)
    text = published.with_suffix(".py").read_text()
    assert not any(word in text for word in ("init_cfg", "127.0.0.1", "pretrained", "petrel"))
    init_segmentor(None, checkpoint, "cpu").init_weights()
    assert not victim.exists()


def test_a_network_that_fetches_unless_told_not_to(forged):
    backbone = dict(type="TIMMBackbone", model_name="resnet18")
    cfg = carried_config(torch.load(forged({"model.backbone": backbone})), "x.pth")
    assert cfg.model.backbone.pretrained is False


@pytest.mark.parametrize(
    "text",
    [
        "filename = 'x'\nmodel = dict(type='X')\n",
        "model = " + "[" * 150 + "]" * 150,
        "model = " + "-" * 20000 + "1",
        "model = dict(type='SlideEncoderDecoder', backbone=7)",
        "model = dict(segmentor='x')",
        "model = dict(type='SlideEncoderDecoder', pretrained=1e999, a=1e999)",
        "model = dict(type='SlideEncoderDecoder', a=b'x')",
        "model = dict(type='NanoBackbone')",
        "model = dict(type='NanoBackbone', no_such_option=1)",
        "model = dict(type='SlideEncoderDecoder')\ntest_pipeline = 7",
    ],
)
def test_odd_values_are_one_message(forged, tmp_path, victim, text):
    for call in (init_segmentor, lambda _, path, __: publish(path, tmp_path / "out.pth")):
        with pytest.raises(UserError):
            call(None, forged(text=text), "cpu")


@pytest.mark.parametrize(
    "text",
    [
        "import os; os.mkdir({folder!r})",
        "model = __import__('os').mkdir({folder!r})",
        "model = dict(type=[__import__('os').mkdir({folder!r})][0])",
        "model = dict(type='X', a=(lambda: __import__('os').mkdir({folder!r}))())",
        "class A: __import__('os').mkdir({folder!r})",
        "model = dict(type=f'{{__import__(\"os\").mkdir({folder!r})}}')",
    ],
)
def test_the_text_is_not_executed(forged, tmp_path, victim, text):
    checkpoint = forged(text=text.format(folder=str(victim)))
    refused(checkpoint, tmp_path, "The config text in .* cannot be read", victim)


@pytest.mark.parametrize("meta", [7, [1], "text", dict(cfg=7), dict(dataset_meta=[1])])
def test_odd_notes_are_one_message(honest, tmp_path, meta):
    content = torch.load(honest, weights_only=True)
    torch.save({**content, "meta": meta}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match="does not say which network"):
        publish(tmp_path / "odd.pth", tmp_path / "out.pth")


@pytest.mark.parametrize(
    "stored",
    [7, dict(classes=5), dict(classes=[1] * 19), dict(classes=["c"] * 19, palette=[[1, 2]] * 19)],
)
def test_odd_class_names_are_one_message(honest, tmp_path, stored):
    content = torch.load(honest, weights_only=True)
    cfg = trained_config("daformer", "nowhere", val_evaluator=None)
    for key in ("test_evaluator", "test_dataloader"):
        cfg.pop(key)
    content["meta"] = dict(cfg=cfg.pretty_text, dataset_meta=stored)
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(UserError, match="meta.dataset_meta"):
        init_segmentor(None, tmp_path / "odd.pth", "cpu")


class TestTheGuard:
    """What holds where no list of keys could: a name that a constructor looks up."""

    def test_lookups_import_nothing(self, victim, module):
        with registered_types_only():
            for key in ("stranger_module", "stranger.Network", "os.mkdir", "mmseg.os.mkdir"):
                assert MODELS.get(key) is None
            with pytest.raises(KeyError, match="os.mkdir is not in"):
                MODELS.build(dict(type="os.mkdir", path=str(victim)))
            assert MODELS.get("mmengine.BaseDataPreprocessor") is not None
        assert not victim.exists()

    def test_a_constructor_that_looks_up_a_name(self, forged, tmp_path, victim, module):
        """Nothing in such a config looks like code."""

        class Indirect(SlideEncoderDecoder):
            def __init__(self, kind, **options):
                MODELS.build(dict(type=kind))
                super().__init__(**options)

        MODELS.register_module(module=Indirect)
        try:
            checkpoint = forged({"model.type": "Indirect", "model.kind": "stranger_module"})
            refused(checkpoint, tmp_path, "cannot be built: stranger_module is not in", victim)
        finally:
            MODELS.module_dict.pop("Indirect")

    def test_config_files_still_name_what_they_like(self):
        assert MODELS.get("torch.nn.Identity") is torch.nn.Identity
        other = Registry("other", scope="mmseg_uda_test")
        assert other.build(dict(type="collections.Counter")) == {}

    def test_the_trap_works(self, victim, module):
        MODELS.get("stranger_module")
        assert victim.exists()
