"""A method outside the package: one file, switched on from a config."""

import torch
from fixed_run import config

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.config_file import load_config

REFINER = '''
from dataclasses import replace

from mmseg_uda.self_training import COMPONENTS, Component


@COMPONENTS.register_module()
class UpperHalfOnly(Component):
    """Gives pseudo-labels in the lower half no weight and counts how often it did."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def refine_weights(self, ctx, target, pseudo):
        weight = pseudo.weight.clone()
        weight[:, weight.shape[1] // 2 :] *= self.factor
        ctx.log("upper_half.weight", weight.mean())
        return replace(pseudo, weight=weight)
'''


def test_a_refiner_in_one_file(tmp_path, monkeypatch):
    (tmp_path / "my_refiner.py").write_text(REFINER)
    monkeypatch.syspath_prepend(tmp_path)
    work_dir = tmp_path / "run"
    work_dir.mkdir()
    cfg = config(work_dir, 2)
    cfg.custom_imports.imports.append("my_refiner")
    cfg.uda.refiner = dict(type="UpperHalfOnly", factor=0.0)
    cfg.uda.pseudo_threshold = 0.0  # every pixel is confident: weight 1 before the refiner
    cfg.dump(tmp_path / "mine.py")
    runner = build_runner(load_config(tmp_path / "mine.py"))
    runner.train()
    assert list(runner.model.components) == ["feature_distance", "refiner", "masking"]
    logged = runner.message_hub.get_scalar("train/upper_half.weight").current()
    assert torch.tensor(logged) == 0.5
