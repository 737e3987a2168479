"""Every table of the hosts starts in miniature: two steps through the runner, on rendered frames.

``run_experiments.py --exp ID --profile mini --startup-test`` trains the same configs, each in a
process of its own. Experiment 50, whose targets this world does not have: test_generalization.py.
"""

import pytest
from mmengine.config import Config

import mmseg_uda.register_all  # noqa: F401
from experiments import EXPERIMENTS
from mmseg_uda.engine.runner import build_runner
from mmseg_uda.experiments.history import losses, read_scalars
from mmseg_uda.experiments.naming import decoder
from mmseg_uda.experiments.plan import Options, plan

pytestmark = pytest.mark.slow
TABLES = (*range(1, 9), 100, 101, *range(40, 45), 49, *range(80, 86))


def kind(config):
    """What decides how a step runs: trainer, its components, network, masks."""
    uda, model = config["uda"], config["model"]
    masking = uda.get("masking") or {}
    parts = [uda["type"], uda.get("source_only"), model["type"], bool(uda.get("feature_distance"))]
    parts += [masking.get(key) for key in ("mode", "alpha", "pseudo_threshold")]
    parts += [model.get(key) for key in ("scales", "feature_scale", "blur_hr_crop")]
    return repr([*parts, bool(model.get("neck"))])


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


def start(one):
    config = Config(one.resolved)
    config.merge_from_dict(
        {
            "model.backbone.init_cfg": None,
            "work_dir": str(one.folder.path),
            # Without a name, runs that begin in the same second share their log.
            "experiment_name": f"{one.job.experiment}_{one.job.name}",
            "log_level": "ERROR",
        }
    )
    runner = build_runner(config)
    runner.train()
    assert int(runner.model.step) == runner.iter == 2
    logged = losses(read_scalars(one.folder.path))
    assert any(name.startswith("decode.") for name in logged)
    for name, values in logged.items():  # without those that are not finite
        assert len(values) == 2 and all(abs(v) < 1e4 for _, v in values), (one.job.name, name)
