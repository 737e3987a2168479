"""The worked examples of docs/configs.md: short, and every one builds."""

import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.config_files import read_config
from mmseg_uda.engine.flat_keys import REPLACED
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.self_training import COMPONENTS

ROOT = Path(__file__).parents[2]
LINES = 15
PAGE = (ROOT / "docs/configs.md").read_text().split("## Vary a training")[1].split("\n## ")[0]
EXAMPLES = {
    title: dict(re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.S))
    for title, text in re.findall(r"\n### (.*?)\n(.*?)(?=\n### |\Z)", PAGE, re.S)
}
COMPONENT = """
from dataclasses import replace
from mmseg_uda.self_training import COMPONENTS, Component


@COMPONENTS.register_module(force=True)
class DistrustTheSky(Component):
    def __init__(self, factor=0.5):
        super().__init__()
        self.factor = factor

    def refine_weights(self, ctx, target, pseudo):
        sky = pseudo.label == 10
        return replace(pseudo, weight=pseudo.weight.where(~sky, self.factor * pseudo.weight))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the examples' files, the repository's configs, and the component."""
    (tmp_path / "configs").mkdir()
    for folder in (ROOT / "configs").iterdir():
        (tmp_path / "configs" / folder.name).symlink_to(folder)
    for files in EXAMPLES.values():
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    (tmp_path / "my_refiner.py").write_text(COMPONENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_refiner", None)
    COMPONENTS.module_dict.pop("DistrustTheSky", None)


def build(config):
    """The trainer, without memory and weights."""
    config = Config(config.to_dict())
    config.model.backbone.init_cfg = None
    with torch.device("meta"):
        return MODELS.build(wrap_model(config).model)


def test_there_are_three_of_at_most_15_lines():
    assert len(EXAMPLES) == 3
    for title, files in EXAMPLES.items():
        lines = [line for text in files.values() for line in text.splitlines() if line.strip()]
        assert 0 < len(lines) <= LINES, title


def test_another_backbone(project):
    trainer = build(read_config("gtaHR2csHR_mic_r101"))
    assert trainer.model.backbone.depth == 101
    assert trainer.model.decode_head.head.in_channels == [256, 512, 1024, 2048]
    assert set(trainer.components) == {"feature_distance", "masking"}
    shorter = read_config("configs/mic/gtaHR2csHR_mic_hrda.py")
    found = re.search(r"`(backbone=dict\(variant=.*?)`", PAGE)[1]
    shorter.merge_from_dict({"model": eval(f"dict({found})")})
    assert len(build(shorter).model.backbone.layers[2][1]) == 18  # blocks of MiT-B3's third stage


def test_another_target(project):
    config = read_config("gta2bdd_daformer")
    data = config.train_dataloader.dataset
    assert (data.source.type, data.target.type) == ("GTA", "BDD100K")
    assert data.target.images_only and data.target.pipeline[1].type == "MarkValid"
    assert config.val_dataloader.dataset.type == config.test_dataloader.dataset.type == "BDD100K"
    assert config.val_dataloader.dataset.split == "val"
    assert build(config).options.pseudo_weight_ignore_top == 0


def test_a_component_with_a_table(project):
    names = {}
    (table,) = [name for name in EXAMPLES[list(EXAMPLES)[2]] if "tables" in name]
    exec((project / table).read_text(), names)
    (experiment,) = names["DISTRUST_TABLES"]
    for profile in ("paper", "mini"):
        options = Options(profile=profile, work_dir=project / "work")
        ours = options.table(experiment)
        planned = plan(ours, ours.jobs(rows=[1, 2, 3], seeds=[0]), options)
        host = "gta2cs_dacs_a999_fdthings{}_rcs001_cpl_daformer_sepaspp_mitb5_poly10warm_s0"
        tags = ("", "_distrust", "_distrust_factor00")
        assert [one.job.name for one in planned] == [host.format(tag) for tag in tags]
        trainers = [build(read_config(_written(one))) for one in planned]
        assert ["distrust" in one.components for one in trainers] == [False, True, True]
        assert trainers[2].components["distrust"].factor == 0.0


def _written(one):
    one.write()
    return one.config_path


def test_the_table_of_older_keys_is_the_one_that_answers_them():
    page = (ROOT / "docs/configs.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `uda\.(\w+)` \| (.+) \|$", page, re.M))
    assert {key: rows.get(key) for key in REPLACED} == REPLACED
