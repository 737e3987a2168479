import pytest
import torch
from torch.overrides import TorchFunctionMode

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import ProposalDetector
from mmseg_uda.methods.csi import TaxonomyRelabeling
from mmseg_uda.self_training import COMPONENTS

SIDE = 40  # of the images in conftest.py
CAR, TRUCK, BUS, TRAIN = 13, 14, 15, 16
TRUCK_BOX = (0, 2, 2, 30, 30, "truck", 0.4)
TRAIN_BOX = (1, 0, 0, 20, 20, "tram", 0.4)
MANUAL = [
    {"target": "terrain", "source": "vegetation", "box_score": 0.01, "crop_score": 0.1},
    {"target": "truck", "source": "car"},
]


def test_source_pixels_in_verified_boxes_become_the_target(make, run, target, cars):
    component = make([TRUCK_BOX], mapping=MANUAL)
    edited = run(component, 30, target, cars).label
    expected = cars.clone()
    expected[0, 2:30, 2:20] = TRUCK
    assert torch.equal(edited, expected)


def test_rejected_boxes_leave_the_labels(make, run, target, cars):
    component = make([TRUCK_BOX], phrase="bus", mapping=MANUAL)
    assert torch.equal(run(component, 30, target, cars).label, cars)
    assert component.check.classifier.calls == [[[2, 2, 30, 30]]]


def test_weights_and_confidence_stay_the_same_objects(make, target, cars, record, begin):
    component = make([TRUCK_BOX], mapping=MANUAL)
    pseudo = record(cars)
    edited = begin(component, 30).refine(target, pseudo)
    assert edited.label is not pseudo.label
    for name in ("weight", "confidence", "confident", "share"):
        assert getattr(edited, name) is getattr(pseudo, name)


def test_no_detection_returns_the_same_record_and_asks_no_classifier(
    make, target, cars, record, begin
):
    component = make([], mapping=MANUAL)
    pseudo = record(cars)
    assert begin(component, 30).refine(target, pseudo) is pseudo
    assert len(component.detector.calls) == 1
    assert component.check.classifier.calls == []


def test_weak_boxes_are_dropped_per_class(make, run, target, cars):
    weak_truck = (0, 0, 0, 20, 20, "truck", 0.05)
    weak_terrain = (1, 20, 0, 40, 20, "grass", 0.05)
    component = make([weak_truck, weak_terrain], phrase="grass", mapping=MANUAL)
    edited = run(component, 30, target, cars).label
    assert torch.equal(edited[0], cars[0])
    assert (edited[1, :20, 20:] == 9).all()


@pytest.mark.parametrize(("size", "changed"), [((10, 10), 100), ((9, 10), 0), ((0, 0), 0)])
def test_small_and_empty_boxes_are_dropped(make, run, target, cars, size, changed):
    box = (0, 2, 2, 2 + size[0], 2 + size[1], "truck", 0.4)
    edited = run(make([box], mapping=MANUAL), 30, target, cars).label
    assert (edited == TRUCK).sum() == changed


def test_a_box_without_source_pixels_reaches_the_classifier_only_while_collecting(
    make, run, target, cars
):
    vegetation_only = (0, 22, 2, 38, 18, "tram", 0.4)
    component = make([vegetation_only], phrase="tram")
    run(component, 15, target, cars)
    assert len(component.check.classifier.calls) == 1
    component.sources = [8, CAR, CAR]
    run(component, 30, target, cars)
    assert len(component.check.classifier.calls) == 1


def test_without_thresholds_the_classifier_is_not_called(make, run, target, cars):
    mapping = [{**item, "crop_score": None} for item in MANUAL]
    component = make([TRUCK_BOX], phrase="bus", mapping=mapping)
    assert (run(component, 30, target, cars).label == TRUCK).any()
    assert component.check.classifier.calls == []


def test_prompts_follow_the_map_and_shrink_when_an_entry_is_dropped(make, run, target, cars):
    component = make([])
    run(component, 12, target, cars)
    run(component, 20, target, cars)
    (first, background), (second, _) = component.detector.calls
    assert first == [
        *("terrain", "grass", "soil", "sand", "roadside grass"),
        *("truck", "box truck", "pickup truck", "truck trailer"),
        *("train", "tram"),
    ]
    assert len(background) == 60 - 11
    assert second == first[:9]


def test_phases(make, run, target, cars):
    component = make([TRAIN_BOX], phrase="tram")
    detected = []
    for step in range(60):
        before = len(component.detector.calls)
        edited = run(component, step, target, cars).label
        if len(component.detector.calls) > before:
            detected.append(step)
        assert (not torch.equal(edited, cars)) == (20 <= step < 50)
    assert detected == list(range(10, 50))


def test_collection_finds_the_source_among_the_super_category(make, run, target, cars):
    component = make([TRAIN_BOX], phrase="tram")
    buildings = torch.full_like(cars, 2)
    buses = torch.full_like(cars, BUS)
    for step, label in enumerate([buildings] * 5 + [buses] * 2 + [cars] * 3, start=10):
        assert run(component, step, target, label).label is label
    counts = component.counts[2]
    assert {c: int(n) for c, n in enumerate(counts) if n} == {2: 5, BUS: 2, CAR: 3}
    edited = run(component, 20, target, cars).label
    assert (edited[1, :20, :20] == TRAIN).all()
    assert component.describe() == {"terrain": "vegetation", "truck": "car", "train": "car"}


def test_rejected_and_undecided_boxes_are_not_counted(make, run, target, cars):
    rejected = make([TRAIN_BOX], phrase="bus")
    run(rejected, 10, target, cars)
    half = make([(1, 10, 0, 30, 20, "tram", 0.4)], phrase="tram")
    run(half, 10, target, cars)
    assert rejected.counts.sum() == half.counts.sum() == 0


def test_entries_with_a_source_collect_nothing_and_keep_it(make, run, target, cars):
    component = make([TRUCK_BOX])
    run(component, 10, target, cars)
    assert component.check.classifier.calls == []
    run(component, 20, target, cars)
    assert component.counts.sum() == 0
    assert component.sources[:2] == [8, CAR]


def test_ties_go_to_the_class_counted_first(make, run, target, cars):
    for order in ([CAR, BUS], [BUS, CAR]):
        component = make([TRAIN_BOX], phrase="tram")
        for step, c in enumerate(order, start=10):
            run(component, step, target, torch.full_like(cars, c))
        run(component, 20, target, cars)
        assert component.sources[2] == order[0]


@pytest.mark.parametrize(("fallback", "source"), [(False, "none found"), (True, "bus")])
def test_a_class_that_is_its_own_favourite(make, run, target, cars, fallback, source):
    component = make([TRAIN_BOX], phrase="tram", fallback_runner_up=fallback)
    for step, c in enumerate([TRAIN, TRAIN, BUS], start=10):
        run(component, step, target, torch.full_like(cars, c))
    run(component, 20, target, cars)
    assert component.describe()["train"] == source


def test_a_second_teacher_is_relabelled_but_not_counted(make, target, cars, record, begin):
    component = make([TRUCK_BOX, TRAIN_BOX], phrase="tram")
    collecting = begin(component, 10)
    second = record(cars, primary=False)
    assert collecting.refine(target, second) is second
    assert component.counts.sum() == 0 and component.detector.calls == []
    collecting.refine(target, record(cars))

    step = begin(component, 20)
    first = step.refine(target, record(cars))
    logged = dict(step.scalars)
    relabelled = component.relabelled.clone()
    calls = len(component.detector.calls)
    second = step.refine(target, record(cars, primary=False))
    assert torch.equal(first.label, second.label)
    assert (second.label[1, :20, :20] == TRAIN).all()
    assert len(component.detector.calls) == calls
    assert step.scalars == logged and torch.equal(component.relabelled, relabelled)


def test_only_every_nth_step_works(make, run, target, cars):
    component = make([TRUCK_BOX], mapping=MANUAL, every_n=4)
    changed = [s for s in range(28, 41) if run(component, s, target, cars).label is not cars]
    assert changed == [28, 32, 36, 40]


@pytest.mark.parametrize(("paste", "kept"), [("rect", False), ("masked", True)])
def test_paste_option(make, run, target, cars, paste, kept):
    # A stronger terrain box overlaps the truck box on car pixels only its own rule would keep.
    boxes = [(0, 2, 2, 18, 22, "truck", 0.2), (0, 6, 18, 38, 38, "grass", 0.4)]
    component = make(boxes, mapping=MANUAL, paste=paste)
    component.check.classifier.phrase = "truck"
    component.entries = tuple(
        type(e)(e.target, e.source, e.box_score, None) for e in component.entries
    )
    edited = run(component, 30, target, cars).label
    assert (edited[0, 18:22, 6:18] == TRUCK).all() == kept


@pytest.mark.parametrize(("nms", "trucks"), [("agnostic", 0), ("class", 256)])
def test_suppression_option(make, run, target, cars, nms, trucks):
    boxes = [(0, 2, 2, 18, 18, "truck", 0.2), (0, 2, 2, 18, 18, "grass", 0.4)]
    mapping = [{**item, "crop_score": None} for item in MANUAL]
    component = make(boxes, mapping=mapping, nms=nms)
    assert (run(component, 30, target, cars).label == TRUCK).sum() == trucks


def test_scalars(make, target, cars, record, begin):
    other_half = (0, 22, 2, 38, 18, "truck", 0.4)
    small = (1, 0, 0, 8, 8, "truck", 0.4)
    step = begin(make([TRUCK_BOX, other_half, small], mapping=MANUAL), 30)
    step.refine(target, record(cars))
    assert {name: float(value) for name, value in step.scalars.items()} == {
        "csi.boxes": 3,
        "csi.boxes_source": 2,
        "csi.boxes_size": 1,
        "csi.boxes_verified": 1,
        "csi.pixels.terrain": 0,
        "csi.pixels.truck": 28 * 18,
        "csi.relabelled.terrain": 0,
        "csi.relabelled.truck": 1,
        "csi.source.terrain": 8,
        "csi.source.truck": CAR,
    }


@pytest.mark.parametrize("stop", [5, 10, 14, 19, 20, 27])
def test_resume_continues_as_if_never_interrupted(make, run, target, stop):
    generator = torch.Generator().manual_seed(0)
    labels = [torch.randint(13, 16, (2, 4, 4), generator=generator) for _ in range(30)]
    labels = [x.repeat_interleave(SIDE // 4, 1).repeat_interleave(SIDE // 4, 2) for x in labels]
    boxes = [(s % 2, 0, 0, 10 + s, 10 + s, "tram", 0.4) for s in range(30)]

    def play(component, steps):
        results = []
        for step in steps:
            component.detector.script = [boxes[step]]
            results.append(run(component, step, target, labels[step]).label)
        return results

    whole = make(phrase="tram")
    expected = play(whole, range(30))
    first = make(phrase="tram")
    play(first, range(stop))
    second = make(phrase="tram")
    second.load_state_dict(first.state_dict())
    results = play(second, range(stop, 30))
    assert all(torch.equal(a, b) for a, b in zip(results, expected[stop:], strict=True))
    assert second.describe() == whole.describe()
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_checkpoint_and_optimizer_see_no_foundation_model(make, clip_folder, run, target, cars):
    component = make(
        mapping=MANUAL,
        detector={"type": "ProposalDetector", "max_proposals": 4},
        classifier={"type": "OpenClip", "checkpoint": str(clip_folder)},
    )
    run(component, 30, target, cars)
    assert component.check.classifier.network.built
    assert sorted(component.state_dict()) == ["counts", "first_seen", "relabelled", "source"]
    assert list(component.parameters()) == []


def test_off_builds_nothing_and_returns_the_same_record(make, target, cars, record, begin):
    component = make(relabel=(-1, -1), detector={"type": "NoSuch"}, classifier={"type": "NoSuch"})
    assert component.detector is None and component.check is None
    step = begin(component, 15)
    pseudo = record(cars)
    assert step.refine(target, pseudo) is pseudo
    assert step.scalars == {}


def test_published_models_are_not_loaded_before_they_are_needed(make, run, target, cars):
    component = make(
        mapping=MANUAL, collect=(-1, -1), relabel=(20, 50), detector=None, classifier=None
    )
    run(component, 19, target, cars)
    assert component.detector.checkpoint == "google/owlvit-base-patch32"
    assert component.check.classifier.checkpoint == "openai/clip-vit-base-patch32"
    assert not component.detector.network.built
    assert not component.check.classifier.network.built


def test_options_reach_both_models_unless_they_set_their_own(make, scripted):
    component = make(
        crop_mode="stretch",
        preprocess="tensor",
        vlm_dtype="bf16",
        clip_chunk=7,
        classifier={"type": scripted.classifier, "chunk": 3},
    )
    assert component.detector.options == ("tensor", "bf16")
    assert component.check.classifier.options == ("stretch", "tensor", "bf16", 3)


def test_a_detector_that_needs_a_classifier_gets_the_components(make):
    component = make(detector={"type": "ProposalDetector"})
    assert isinstance(component.detector, ProposalDetector)
    assert component.detector.classifier is component.check.classifier


def test_it_is_registered_and_runs_first():
    assert COMPONENTS.get("TaxonomyRelabeling") is TaxonomyRelabeling
    assert TaxonomyRelabeling.order == 10


def test_another_taxonomy_of_another_size(make, run, target, tmp_path):
    (tmp_path / "farm.yaml").write_text(
        "name: farm\nclasses:\n"
        "- {name: field, color: [0, 0, 0], group: ground, prompts: [field]}\n"
        "- {name: maize, color: [1, 0, 0], group: plant, prompts: [maize, corn]}\n"
        "- {name: wheat, color: [2, 0, 0], group: plant, prompts: [wheat]}\n"
    )
    component = make(
        [(0, 0, 0, 20, 20, "wheat", 0.4)],
        phrase="wheat",
        taxonomy=str(tmp_path / "farm.yaml"),
        num_classes=3,
        mapping=[{"target": "wheat"}],
    )
    maize = torch.ones(2, SIDE, SIDE, dtype=torch.int64)
    run(component, 10, target, maize)
    edited = run(component, 20, target, maize).label
    assert component.describe() == {"wheat": "maize"}
    assert (edited == 2).sum() == 400


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"taxonomy": None}, "uda.taxonomy"),
        ({"num_classes": 16}, "19 classes"),
        ({"collect": (-1, -1)}, "no collection phase"),
        ({"collect": (10, 21)}, "after"),
        ({"mapping": [{"target": "lorry"}]}, "lorry"),
        ({"detector": {"type": "NoSuch"}}, "detector.type='NoSuch'"),
        ({"classifier": {"checkpoint": "x"}}, "classifier.type=None"),
        ({"detector": {"type": "OwlDetector", "speed": 9}}, "no option 'speed'"),
        ({"nms": "soft"}, "nms"),
        ({"nms_iou": 30}, "nms_iou"),
        ({"paste": "blend"}, "paste"),
        ({"clip_score": "mean"}, "clip_score"),
        ({"min_box": 0}, "min_box"),
        ({"candidate_ratio": 0.2}, "candidate_ratio"),
        ({"every_n": 0}, "every_n"),
        ({"crop_mode": "fit", "classifier": {"type": "TransformersClip"}}, "crop_mode"),
    ],
)
def test_impossible_configurations_fail_when_built(make, options, words):
    with pytest.raises(UserError, match=words):
        make(**options)


class Waits(TorchFunctionMode):
    """Counts the calls that would make the host wait for a device."""

    NAMES = {"cpu", "item", "tolist", "numpy", "nonzero", "unique", "masked_select", "equal"}
    NAMES |= {"__bool__", "__int__", "__float__", "__index__", "__contains__"}

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        indexed = name in ("__getitem__", "__setitem__") and isinstance(args[1], torch.Tensor)
        if name in self.NAMES or (indexed and args[1].dtype == torch.bool):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("step", [15, 30])
@pytest.mark.parametrize("boxes", [0, 1, 30])
def test_one_wait_per_batch_however_many_boxes(
    make, target, cars, step, boxes, record, begin, scripted
):
    script = [(i % 2, i % 20, i, i % 20 + 10, i + 10, "tram", 0.4) for i in range(boxes)]
    component = make(script, phrase="tram", nms_iou=1.0)
    component.check.classifier.classify = lambda images, prompts, boxes, index: torch.zeros(
        len(boxes), len(prompts)
    )
    found = scripted.detector(script).detect(target.image, component.taxonomy.prompts[16])
    logits = torch.full((*found[0].shape[:2], 11), -30.0)
    logits[..., 9:] = found[0]
    component.detector.detect = lambda images, prompts, background: (logits, found[1])
    component.sources = [8, CAR, -1 if step < 20 else CAR]
    pseudo, runner = record(cars), begin(component, step)
    with Waits() as waits:
        runner.refine(target, pseudo)
    # The copy of the boxes, and reading that copy.
    assert waits.found == ["cpu", "numpy"]
