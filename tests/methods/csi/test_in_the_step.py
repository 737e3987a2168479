"""CSI inside whole training steps of the self-training host."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

import mmseg_uda.datasets
import mmseg_uda.methods
import mmseg_uda.models  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.self_training import SelfTraining

SIDE = 64
CAR, TRAIN = 13, 16
BOX = (0, 0, 0, 40, 40, "tram", 0.4)
OWN_TEACHER = {"type": "MaskedConsistency", "mode": "separatetrg", "block_size": 16, "alpha": 0.9}


def segmentor():
    return {
        "type": "SlideEncoderDecoder",
        "data_preprocessor": {
            "type": "DomainDataPreProcessor",
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
            "size": (SIDE, SIDE),
        },
        "backbone": {"type": "NanoBackbone", "stem_channels": 4, "channels": [4, 8, 8, 8]},
        "decode_head": {
            "type": "DLV2Head",
            "in_channels": 8,
            "in_index": 1,
            "dilations": (1, 2),
            "num_classes": 19,
        },
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def optimizer_of(trainer):
    wrapper = {"type": "StepOptimWrapper", "optimizer": {"type": "AdamW", "lr": 1e-3}}
    return ReferenceNameConstructor(wrapper, None)(trainer)


def batch():
    generator = torch.Generator().manual_seed(1)
    label = SegDataSample()
    label.gt_sem_seg = PixelData(
        data=torch.randint(0, 19, (1, 8, 8), generator=generator)
        .repeat_interleave(8, 1)
        .repeat_interleave(8, 2)
    )

    def images():
        return [
            torch.randint(0, 256, (3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
            for _ in range(2)
        ]

    return {
        "source": {"inputs": images(), "data_samples": [label, label]},
        "target": {"inputs": images(), "data_samples": [SegDataSample(), SegDataSample()]},
    }


@pytest.fixture
def train(scripted):
    """Runs steps; gives the trainer, the scalars of each step and the labels of each teacher."""

    def steps(n, relabel, phrase="tram", **components):
        torch.manual_seed(0)
        if relabel is not None:
            relabel = {
                "type": "TaxonomyRelabeling",
                "detector": {"type": scripted.detector, "script": [BOX]},
                "classifier": {"type": scripted.classifier, "phrase": phrase},
                "mapping": [{"target": "train", "source": "car"}],
                **relabel,
            }
        trainer = SelfTraining(
            segmentor(), taxonomy="cityscapes19", max_iters=n, relabel=relabel, **components
        )
        trainer.init_weights()
        trainer.train()
        # Every network names cars everywhere.
        for name, parameter in trainer.named_parameters():
            if name.endswith("bias") and parameter.shape == (19,):
                parameter.data[CAR] += 20
        optimizer = optimizer_of(trainer)
        seen = []
        refine = trainer.refine_labels

        def spy(ctx, target, pseudo):
            edited = refine(ctx, target, pseudo)
            seen.append((pseudo, edited))
            return edited

        trainer.refine_labels = spy
        logs = [trainer.train_step(batch(), optimizer) for _ in range(n)]
        return trainer, logs, seen, optimizer

    return steps


def losses(logs):
    return [{k: float(v) for k, v in log.items() if "loss" in k} for log in logs]


def test_switched_off_the_losses_are_those_of_the_host(train):
    _, without, _, _ = train(3, None)
    _, off, _, _ = train(3, {"relabel": (-1, -1)})
    assert losses(without) == losses(off)


def test_before_the_first_phase_the_losses_are_those_of_the_host(train):
    _, without, _, _ = train(3, None)
    _, waiting, _, _ = train(3, {"relabel": (3, 9)})
    assert losses(without) == losses(waiting)


def test_every_teachers_labels_are_relabelled(train):
    _, logs, seen, _ = train(1, {"relabel": (0, 9)}, masking=OWN_TEACHER)
    assert [pseudo.primary for pseudo, _ in seen] == [True, False]
    for pseudo, edited in seen:
        assert (pseudo.label == CAR).all()
        assert (edited.label[0, :40, :40] == TRAIN).all()
        assert (edited.label == TRAIN).sum() == 1600
        assert edited.weight is pseudo.weight
    assert float(logs[0]["csi.pixels.train"]) == 1600


def test_masked_consistency_shares_the_hosts_relabelled_map(train):
    masking = {**OWN_TEACHER, "alpha": "same"}
    _, with_csi, seen, _ = train(1, {"relabel": (0, 9)}, masking=masking)
    assert len(seen) == 1
    _, without, _, _ = train(1, None, masking=masking)
    name = "masked.decode.loss_seg"
    assert losses(with_csi)[0][name] != losses(without)[0][name]


def test_pixels_without_weight_do_not_feel_the_relabelling(train):
    # Every row is excluded, so that no target pixel counts.
    margin = {"pseudo_weight_ignore_top": SIDE}
    _, with_csi, _, _ = train(2, {"relabel": (0, 9)}, **margin)
    _, without, _, _ = train(2, None, **margin)
    assert losses(with_csi) == losses(without)


def test_a_checkpoint_resumes_between_the_phases(train):
    relabel = {"collect": (0, 2), "relabel": (2, 9), "mapping": [{"target": "train"}]}
    trainer, _, seen, _ = train(4, relabel)
    assert not torch.equal(seen[2][0].label, seen[2][1].label)
    collected, _, _, _ = train(2, relabel)
    resumed, _, _, _ = train(0, relabel)
    resumed.load_state_dict(collected.state_dict())
    component = resumed.components["relabel"]
    assert component.counts[0, CAR] == 2 and component.describe() == {"train": "not known yet"}
    resumed.train_step(batch(), optimizer_of(resumed))
    assert component.describe() == trainer.components["relabel"].describe() == {"train": "car"}


def test_the_optimizer_holds_the_student_alone(train):
    trainer, _, _, optimizer = train(1, {"relabel": (0, 9)})
    held = {id(p) for group in optimizer.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in trainer.model.parameters()}


OFF_IN_A_FRESH_PROCESS = """
import sys
sys.path.insert(0, "tests/helpers")
from mmengine.registry import init_default_scope
import mmseg_uda.register_all
from nano import nano_config, optimizer, random_batch
from mmseg_uda.self_training import SelfTraining
init_default_scope("mmseg")
mapping = [dict(target="truck", source="car"), dict(target="train")]
relabel = dict(type="TaxonomyRelabeling", mapping=mapping)
trainer = SelfTraining(nano_config(19), taxonomy="cityscapes19", relabel=relabel)
trainer.init_weights()
trainer.train().train_step(random_batch(), optimizer(trainer))
models = ("open_clip", "transformers.models.owl", "transformers.models.clip")
print([name for name in sys.modules if name.startswith(models)])
"""


def test_switched_off_no_model_code_is_imported():
    command = [sys.executable, "-W", "ignore", "-c", OFF_IN_A_FRESH_PROCESS]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"
