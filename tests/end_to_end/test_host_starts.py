"""Every table of the hosts starts in miniature: two steps through the runner, on rendered frames.

``run_experiments.py --exp ID --profile mini --startup-test`` trains the same configs, each in a
process of its own. Tables whose targets this world does not have: test_generalization.py.
"""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

import mmseg_uda.register_all  # noqa: F401
from experiments import EXPERIMENTS
from mmseg_uda.engine.optim_wrapper_dict import optimizers_of
from mmseg_uda.engine.runner import build_runner
from mmseg_uda.experiments.history import losses, read_scalars
from mmseg_uda.experiments.naming import decoder
from mmseg_uda.experiments.plan import Options, plan

pytestmark = pytest.mark.slow
TABLES = (*range(1, 9), 100, 101, *range(40, 45), 49, *range(80, 86))
FOUNDATION = (*range(700, 707), 711, 713)


def kind(config):
    """What decides how a step runs: trainer, its components, network, masks."""
    uda, model = config["uda"], config["model"]
    masking = uda.get("masking") or {}
    parts = [uda["type"], uda.get("source_only"), model["type"], bool(uda.get("feature_distance"))]
    parts += [masking.get(key) for key in ("mode", "alpha", "pseudo_threshold")]
    parts += [model.get(key) for key in ("scales", "feature_scale", "blur_hr_crop")]
    return repr([*parts, bool(model.get("neck"))])


def kind_of_foundation(config):
    """The same where the encoder is a plain vision transformer."""
    uda, model, backbone = config["uda"], config["model"], config["model"]["backbone"]
    parts = [sorted(role for role, value in uda.items() if isinstance(value, dict))]
    parts += [(uda.get("augmentation") or {}).get("style")]
    parts += [backbone.get(key) for key in ("trainable", "adapter")]
    parts += [(uda.get("masking") or {}).get("unit"), model["decode_head"]["type"]]
    parts += [config["optim_wrapper"]["paramwise_cfg"], config["param_scheduler"]]
    return kind(config) + repr(parts)


def test_two_steps_of_every_table_and_every_kind(world, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(world.root))
    options = Options(profile="mini", variant="startup", work_dir=tmp_path)
    kinds, decoders = set(), set()
    for experiment in (options.table(e) for e in EXPERIMENTS if e.id in TABLES):
        planned, chosen = plan(experiment, experiment.jobs(), options), []
        for one in planned:
            parts = kind(one.resolved), decoder(one.job.row.resolved["model"])
            if parts[0] not in kinds or parts[1] not in decoders:
                kinds.add(parts[0])
                decoders.add(parts[1])
                chosen.append(one)
        for one in chosen or planned[:1]:  # at least one row of each table
            start(one)
    assert len(kinds) >= 20 and len(decoders) == 12


def test_two_steps_of_every_foundation_table_and_every_kind(world, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(world.root))
    options = Options(profile="mini", variant="startup", work_dir=tmp_path)
    kinds = set()
    for experiment in (options.table(e) for e in EXPERIMENTS if e.id in FOUNDATION):
        planned = plan(experiment, experiment.jobs(), options)
        # 711: this world has no BDD100K and no Mapillary.
        planned = [
            one for one in planned if "targets" not in one.resolved["val_dataloader"]["dataset"]
        ]
        new = {kind_of_foundation(one.resolved): one for one in reversed(planned)}
        for one in [one for key, one in new.items() if key not in kinds] or planned[:1]:
            start(one, world.clip)
        kinds |= new.keys()
    assert len(kinds) == 22


def start(one, clip=None):
    changes = {}
    if one.resolved["uda"].get("distillation"):
        changes["uda.distillation.teacher.init_cfg"] = None
    if one.resolved["uda"].get("relabel"):
        for part in ("detector.classifier", "classifier"):
            changes[f"uda.relabel.{part}.checkpoint"] = str(clip)
    config = Config(one.resolved)
    config.merge_from_dict(
        {
            "model.backbone.init_cfg": None,
            "work_dir": str(one.folder.path),
            # Without a name, runs that begin in the same second share their log.
            "experiment_name": f"{one.job.experiment}_{one.job.name}",
            "log_level": "ERROR",
            **changes,
        }
    )
    runner = build_runner(config)
    before = Before()
    runner.register_hook(before)
    runner.train()
    assert int(runner.model.step) == runner.iter == 2
    scalars = read_scalars(one.folder.path)
    rates = [values for name, values in scalars.items() if name.rpartition(".")[2] == "lr"]
    assert rates and all(first != second for (_, first), (_, second) in rates), one.job.name
    moved = before.moved(runner.model.model)
    for group in optimizers_of(runner.optim_wrapper)[0].param_groups:
        assert any(id(p) in moved for p in group["params"]) == (group["lr"] > 0), one.job.name
    frozen = [p for p in runner.model.model.parameters() if not p.requires_grad]
    assert not any(id(p) in moved for p in frozen), one.job.name
    logged = losses(scalars)
    assert any(name.startswith("decode.") for name in logged)
    for name, values in logged.items():  # without those that are not finite
        assert len(values) == 2 and all(abs(v) < 1e4 for _, v in values), (one.job.name, name)


class Before(Hook):
    """What a student's parameters were."""

    def before_train(self, runner):
        self.values = {id(p): p.detach().clone() for p in runner.model.model.parameters()}

    def moved(self, student):
        now = {id(p): p for p in student.parameters()}
        return {key for key, value in self.values.items() if not torch.equal(value, now[key])}
