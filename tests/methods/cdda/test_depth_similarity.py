"""What the component does with a match."""

import cv2
import numpy as np
import pytest
import torch
from depth_world import SIDE, halves, write_bank
from nano import nano_config

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.records import Normalization
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda import decide
from mmseg_uda.methods.cdda.search import Match
from mmseg_uda.self_training import SelfTraining, SourceBatch, StepRandom, TargetBatch
from mmseg_uda.self_training.component import StepContext
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.teacher import margin_mask

Q = 0.4
LOW = dict(reweight_threshold=0.4, relabel_threshold=0.3)
OPEN = dict(reweight_threshold=-1.0, relabel_threshold=-1.0)
SHUT = dict(reweight_threshold=2.0, relabel_threshold=2.0)


class Step:
    """One step of a component on given labels and depths of a batch of two."""

    def __init__(self, bank, labels, depths, draws=False, metas=None, **options):
        torch.manual_seed(0)
        segmentor = nano_config(19, size=(SIDE, SIDE))
        host = {k: options.pop(k) for k in ("taxonomy", "pseudo_weight_ignore_top") if k in options}
        depth = dict(type="DepthSimilarity", bank=str(bank), **options)
        self.host = SelfTraining(segmentor, depth=depth, **host)
        self.host.init_weights()
        self.component = self.host.components["depth"]
        self.scalars = {}
        self.ctx = StepContext(0, StepRandom(), self.host.train(), self.scalars.__setitem__, draws)
        preprocessor = self.host.model.data_preprocessor
        norm = Normalization(preprocessor.mean.view(3, 1, 1), preprocessor.std.view(3, 1, 1))
        generator = torch.Generator().manual_seed(7)
        label = torch.from_numpy(np.stack(labels)).long()
        image = torch.randn(2, 3, SIDE, SIDE, generator=generator)
        self.source = SourceBatch(image, torch.full_like(label, 5), norm)
        field = torch.from_numpy(np.stack(depths))[:, None]
        self.target = TargetBatch(
            torch.randn(2, 3, SIDE, SIDE, generator=generator),
            None,
            norm,
            metas or [{}, {}],
            {"gt_depth_map": field},
        )
        confident = torch.rand(label.shape, generator=generator) < Q
        weight = torch.full(label.shape, Q)
        share = torch.full((2,), Q)
        self.before = PseudoLabels(label, weight, confident, share, weight.clone())
        self.component.begin_step(self.ctx)
        self.after = self.component.refine_weights(self.ctx, self.target, self.before)

    def pasted(self):
        return self.component.choose_source(self.ctx, self.source, self.target, self.after)

    def losses(self):
        return self.component.target_losses(self.ctx, self.target, self.after)


ROAD_AND_CAR = (halves(0, 13), halves(20, 200))
ROAD_AND_SKY = (halves(0, 10), halves(20, 250))
NOWHERE = (halves(2, 2), halves(60, 60))


def step(bank, one, two, **options):
    return Step(bank, [one[0], two[0]], [one[1], two[1]], **options)


def test_equal_images_are_matched_and_pasted(bank):
    run = step(bank, ROAD_AND_SKY, ROAD_AND_CAR)
    assert run.scalars["cdda.score_mean"] == pytest.approx(1)
    assert run.scalars["cdda.match_rate"] == 1
    source = run.pasted()
    for i, n in enumerate((1, 0)):
        image, label = run.component.bank.read_crop(n)
        assert torch.equal(source.label[i], torch.from_numpy(label).long())
        rgb = torch.from_numpy(image).permute(2, 0, 1) / 255
        torch.testing.assert_close(source.rgb()[i], rgb, atol=1e-5, rtol=0)
    confident = run.before.confident
    assert run.after.weight[confident].eq(1).all() and run.after.weight[~confident].eq(Q).all()


def test_a_crop_is_normalised_like_the_training_images(bank):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    run = step(bank, ROAD_AND_CAR, ROAD_AND_CAR)
    label = cv2.imread(str(bank / "labels/0.png"), cv2.IMREAD_UNCHANGED)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(label)[None]))
    bgr = torch.from_numpy(cv2.imread(str(bank / "images/0.png"))).permute(2, 0, 1)
    data = run.host.model.data_preprocessor({"inputs": [bgr], "data_samples": [sample]}, True)
    assert torch.equal(run.pasted().image[0], data["inputs"][0])


def test_unlabelled_pixels_of_a_crop_stay_unlabelled(bank):
    vegetation = (halves(8, 8), halves(100, 100))
    source = step(bank, vegetation, vegetation, reweight_threshold=0.3).pasted()
    assert source.label[0, :, :8].eq(8).all() and source.label[0, :, 8:].eq(255).all()


def test_only_images_above_the_threshold_are_touched(bank):
    run = step(bank, NOWHERE, ROAD_AND_CAR)
    source = run.pasted()
    assert torch.equal(source.image[0], run.source.image[0]) and source.label[0].eq(5).all()
    assert not torch.equal(source.image[1], run.source.image[1])
    assert run.after.weight[0].eq(Q).all() and run.after.weight[1].ne(Q).any()
    assert run.scalars["cdda.match_rate"] == 0.5
    assert run.source.label.eq(5).all()  # the batch itself is as it was


def test_labels_and_everything_but_the_weight_stay(bank):
    run = step(bank, ROAD_AND_CAR, ROAD_AND_SKY, **OPEN)
    for name in ("label", "confidence", "confident", "share"):
        assert getattr(run.after, name) is getattr(run.before, name)
    assert run.before.weight.eq(Q).all()


@pytest.mark.parametrize("off", ["reweight", "replace_source", "guidance"])
def test_three_independent_switches(bank, off):
    # the match has cars where the pseudo-label has none
    target = (halves(0, 0), halves(20, 200))
    run = step(bank, target, target, **OPEN, **{off: False})
    source = run.pasted()
    assert run.after.weight.eq(Q).all() == (off == "reweight")
    assert (source is run.source) == (off == "replace_source")
    assert ("target.loss_guidance" in run.losses()) == (off != "guidance")


def test_nothing_happens_below_the_thresholds(bank):
    run = step(bank, ROAD_AND_CAR, ROAD_AND_CAR, **SHUT)
    assert run.after.weight.eq(Q).all() and run.pasted() is run.source
    assert run.losses() == {} and run.scalars["target.loss_guidance"] == 0


def test_between_the_thresholds_there_is_guidance_alone(bank):
    target = (halves(0, 0), halves(20, 200))
    score = step(bank, target, target).scalars["cdda.score_mean"]
    run = step(
        bank, target, target, reweight_threshold=score + 0.01, relabel_threshold=score - 0.01
    )
    assert run.after.weight.eq(Q).all() and run.pasted() is run.source
    assert run.losses()["target.loss_guidance"] > 0
    assert run.scalars["cdda.n_missing"] == 1 and run.scalars["cdda.guidance_rate"] == 1


def test_a_match_that_is_not_good_enough_guides_nothing(bank):
    """Its classes are missing at the target's own depths, but its score is 0."""
    building = (halves(2, 2), halves(20, 200))
    run = step(bank, building, building, **LOW)
    assert run.losses() == {} and run.scalars["cdda.n_missing"] == 0
    road = (halves(0, 0), halves(20, 200))  # the match of the second image is good
    run = step(bank, building, road, **LOW)
    assert run.losses()["target.loss_guidance"] > 0 and run.scalars["cdda.n_missing"] == 0.5


def test_no_missing_class_no_guidance(bank):
    run = step(bank, ROAD_AND_CAR, ROAD_AND_CAR)
    assert run.losses() == {} and run.scalars["cdda.guidance_rate"] == 0


@pytest.mark.parametrize(("score", "similar"), [(0.56, False), (0.56 + 1e-9, True)])
def test_a_score_has_to_exceed_the_threshold(score, similar, counts):
    entry = counts({0: {10: 4}})[None]
    match = Match(
        torch.tensor([0]), torch.tensor([score]).double(), torch.ones(1, 3).double(), entry
    )
    match = Match(match.index, torch.tensor([score], dtype=torch.float64), match.similarity, entry)
    decision = decide(match, entry, (0.56, 0.56))
    assert bool(decision.similar) is bool(decision.flagged) is similar


def test_the_guidance_loss_has_the_weight_of_the_share_everywhere(bank):
    """Margins and unconfident pixels count like the others; the loss is the formula's."""
    from mmseg_uda.methods.cdda import class_probability, depth_bins, guidance_loss

    target = (halves(0, 0), halves(20, 200))
    run = step(bank, target, NOWHERE, pseudo_weight_ignore_top=6, **LOW)
    found = run.losses()["target.loss_guidance"]
    counts = torch.from_numpy(run.component.bank.counts[:, 0])[None].repeat(2, 1, 1)
    missing = torch.zeros(2, 19, dtype=torch.bool)
    missing[0, 13] = True
    table = class_probability(counts, missing)
    torch.manual_seed(0)
    logits = run.host.forward_student(run.target.image).logits[0].logits
    logits = torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear")
    bins = depth_bins(run.target.fields["gt_depth_map"][:, 0])
    label = run.before.label
    expected = guidance_loss(logits, label, bins, table, run.before.share)
    torch.testing.assert_close(found, expected)
    # the same without margins, without images that are not flagged, without both
    for options, valid in {
        ("guidance_valid_mask",): margin_mask(run.target, 6, 0),
        ("guidance_scope",): torch.tensor([1.0, 0]).view(2, 1, 1),
        ("guidance_valid_mask", "guidance_scope"): margin_mask(run.target, 6, 0)
        * torch.tensor([1.0, 0]).view(2, 1, 1),
    }.items():
        values = {"guidance_valid_mask": True, "guidance_scope": "flagged"}
        changed = {option: values[option] for option in options}
        other = step(bank, target, NOWHERE, pseudo_weight_ignore_top=6, **changed, **LOW)
        other.host.load_state_dict(run.host.state_dict())
        found = other.losses()["target.loss_guidance"]
        expected = guidance_loss(logits, label, bins, table, run.before.share, valid=valid)
        torch.testing.assert_close(found, expected)


def test_classes_that_the_bank_lacks_keep_their_weights(bank):
    """Bank without terrain, truck and train, say: they say nothing about these classes."""
    target = (halves(0, 9), halves(20, 200))
    automatic = step(bank, target, target, **OPEN)
    label, weight = automatic.before.label, automatic.after.weight
    assert weight[label == 9].eq(Q).all() and weight[label == 0].ne(Q).any()
    none = step(bank, target, target, skip_classes=[], **OPEN)
    assert none.after.weight[label == 9].eq(0).all()
    named = step(bank, target, target, skip_classes=["road"], taxonomy="cityscapes19", **OPEN)
    assert named.after.weight[label == 0].eq(Q).all()
    assert named.after.weight[label == 9].eq(0).all()


def test_exactly_the_absent_classes_are_skipped(tmp_path):
    present = [c for c in range(19) if c not in (9, 14, 16)]
    rows = np.repeat(np.array(present, np.uint8)[:, None], SIDE, axis=1)
    folder = write_bank(tmp_path / "bank", [rows], [np.full((SIDE, SIDE), 30)])
    everything = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) % 19
    target = (everything, np.full((SIDE, SIDE), 200, np.uint8))  # at another depth
    run = step(folder, target, target, **OPEN)
    kept = run.before.label[run.after.weight == Q].unique().tolist()
    assert kept == [9, 14, 16]
    # skipped classes still count in the number of classes
    assert run.after.weight[run.before.label == 3].eq(0).all()


def test_small_classes_keep_their_weights(bank):
    label = halves(0, 13)
    label[0, 0] = 2
    target = (label, halves(20, 200))
    small = step(bank, target, ROAD_AND_CAR, skip_classes=[], min_class_pixels=2)
    assert small.after.weight[0, 0, 0] == Q
    run = step(bank, target, ROAD_AND_CAR, skip_classes=[])
    assert run.after.weight[0, 0, 0] == 0
    # The score of the first image is a mean over two classes instead of three.
    assert small.scalars["cdda.score_mean"] > run.scalars["cdda.score_mean"] + 0.1


def test_padding_is_not_counted(bank):
    label, depth = halves(0, 13), halves(20, 200)
    label[10:], depth[10:] = 2, 0  # what a teacher may say about padding
    metas = [{"img_shape": (10, SIDE)}, {}]
    run = Step(bank, [label, ROAD_AND_CAR[0]], [depth, ROAD_AND_CAR[1]], metas=metas)
    match = run.component._search(
        torch.from_numpy(np.array(run.component.bank.counts[:, [0]])).transpose(0, 1)
    )
    assert match.index.tolist() == [0]
    padded = step(bank, (label, depth), ROAD_AND_CAR)
    assert run.scalars["cdda.score_mean"] > padded.scalars["cdda.score_mean"] + 0.1


def test_a_smaller_crop_is_padded_like_a_training_image(tmp_path):
    small = write_bank(tmp_path / "bank", [halves(0, 13)[:12]], [halves(20, 200)[:12]])
    import json

    meta = json.loads((small / "meta.json").read_text())
    meta["crop_size"] = [SIDE, SIDE]
    (small / "meta.json").write_text(json.dumps(meta))
    source = step(small, ROAD_AND_CAR, ROAD_AND_CAR).pasted()
    assert source.label[0, 12:].eq(255).all() and source.image[0, :, 12:].eq(0).all()
    assert source.label[0, :12].ne(255).all()


@pytest.mark.parametrize("device", ["cpu", "mmap"])
@pytest.mark.parametrize("prefetch", [True, False])
def test_every_way_to_search_and_read_gives_the_same(bank, device, prefetch):
    target = (halves(0, 0), halves(20, 200))
    plain = step(bank, target, ROAD_AND_SKY, **OPEN)
    other = step(bank, target, ROAD_AND_SKY, search_device=device, prefetch=prefetch, **OPEN)
    assert torch.equal(plain.after.weight, other.after.weight)
    assert torch.equal(plain.pasted().image, other.pasted().image)
    assert plain.scalars == other.scalars


def test_depths_of_one_bin_are_alike(bank):
    """20 and 31 lie in one of eight bins, 200 and 223 in another."""
    near, far = halves(20, 200), halves(31, 223)
    fine = step(bank, (halves(0, 0), far), ROAD_AND_SKY, **OPEN)
    coarse = step(bank, (halves(0, 0), far), ROAD_AND_SKY, bins=8, search_device="mmap", **OPEN)
    same = step(bank, (halves(0, 0), near), ROAD_AND_SKY, bins=8, **OPEN)
    assert fine.scalars["cdda.score_mean"] < coarse.scalars["cdda.score_mean"]
    assert coarse.scalars["cdda.score_mean"] == same.scalars["cdda.score_mean"]
    assert coarse.losses().keys() == same.losses().keys()


def test_a_debug_picture_of_fewer_bins(bank):
    """Cars are missing in the far half, and alone in its bin."""
    target = (halves(0, 0), halves(20, 200))
    run = step(bank, target, NOWHERE, draws=True, bins=8, **LOW)
    panels = {panel.title: panel for panel in run.ctx.panels}
    mass = panels["CDDA mass of missing classes"].values
    assert mass[0, :, 8:].gt(0.99).all() and mass[0, :, :8].eq(0).all()


def test_the_executed_trigger_and_mask(bank):
    target = (halves(0, 0), halves(20, 200))
    released = dict(reweight_mask="first_row", guidance_trigger="last")
    run = step(bank, target, target, **released, **OPEN)
    assert run.losses()["target.loss_guidance"] > 0
    depth = halves(20, 200) + 0.25
    fractional = step(bank, (halves(0, 0), depth), (halves(0, 0), depth), **released, **OPEN)
    assert fractional.losses() == {}
    floored = step(bank, (halves(0, 0), depth), (halves(0, 0), depth), **OPEN)
    assert floored.losses()["target.loss_guidance"] > 0


def test_what_a_debug_picture_shows(bank):
    target = (halves(0, 0), halves(20, 200))
    run = step(bank, target, NOWHERE, draws=True, **LOW)
    source = run.pasted()
    panels = {panel.title: panel for panel in run.ctx.panels}
    matched = panels["CDDA matched bank crop"]
    assert matched.image.shape == (2, 3, SIDE, SIDE) and len(matched.captions) == 2
    assert matched.captions[0].startswith("entry 0, score ")
    assert panels["CDDA weight before"].values.eq(Q).all()
    assert torch.equal(panels["CDDA weight after"].values, run.after.weight)
    panel_title = "CDDA mass of missing classes"
    mass = panels[panel_title].values
    assert mass[0, :, 8:].gt(0.99).all() and mass[0, :, :8].eq(0).all() and mass[1].eq(0).all()
    halved = step(bank, target, NOWHERE, draws=True, max_prob=0.5, **LOW)
    (mass,) = (p.values for p in halved.ctx.panels if p.title == panel_title)
    assert mass.max() == 0.5
    likeliest = panels["CDDA likeliest class of the soft label"].label
    assert likeliest[0, :, 8:].eq(13).all() and likeliest[1].eq(2).all()
    bars = panels["CDDA class similarity"].series["similarity"]
    assert torch.isfinite(bars[0]).nonzero().flatten().tolist() == [0]
    assert torch.equal(source.image, step(bank, target, NOWHERE, **LOW).pasted().image)
    quiet = step(bank, target, NOWHERE, **LOW)
    quiet.pasted()
    assert quiet.ctx.panels == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(reweight_mask="row"), "reweight_mask='row'"),
        (dict(guidance_trigger="all"), "guidance_trigger='all'"),
        (dict(search_device="tpu"), "search_device='tpu'"),
        (dict(sim_low=0.8), "sim_low=0.8"),
        (dict(max_prob=1.0), "max_prob=1.0"),
        (dict(decay_interval=0), "decay_interval=0"),
        (dict(min_class_pixels=0), "min_class_pixels=0"),
        (dict(bins=7), "bins=7"),
        (dict(build=dict(number=3)), r"build has no option \['number'\]"),
        (dict(skip_classes=["truck"]), "no taxonomy"),
        (dict(skip_classes=[19]), "class 19"),
        (dict(treshold=0.5), "uda.depth.treshold"),
        (dict(search_device="cuda"), "does not run on a GPU"),
    ],
)
def test_impossible_options_are_named(bank, options, words):
    with pytest.raises(UserError, match=words):
        step(bank, ROAD_AND_CAR, ROAD_AND_CAR, **options)
