"""What the hook draws, and that a training does not notice it."""

import logging
import time

import numpy as np
import pytest
import torch
from fixed_run import config
from PIL import Image

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.panels import BarsPanel, LabelPanel, MapPanel
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import COMPONENTS, Component
from mmseg_uda.visualization import DebugPanelsHook, debug_panels
from mmseg_uda.visualization.background import BackgroundWorker

PANELS = "default_hooks.debug_panels"


def train(folder, **changes):
    runner = build_runner(config(folder, **changes))
    runner.train()
    return runner


def pictures(folder):
    return (
        sorted(p.name for p in (folder / "debug").glob("*")) if (folder / "debug").exists() else []
    )


def titles(monkeypatch):
    """What each drawn step would show."""
    seen = []
    take = DebugPanelsHook.after_train_iter

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.model.draws:
            seen.append([panel.title for panel in runner.model.panels])
        take(self, runner, batch_idx, data_batch, outputs)

    monkeypatch.setattr(DebugPanelsHook, "after_train_iter", after_train_iter)
    return seen


def test_off_by_default_and_nothing_is_kept(tmp_path):
    runner = train(tmp_path)
    hook = next(h for h in runner.hooks if isinstance(h, DebugPanelsHook))
    assert hook.interval == 0
    assert pictures(tmp_path) == []
    assert hook.worker._thread is None
    assert runner.model.panels == []


def test_a_picture_at_every_interval_with_host_and_component_panels(tmp_path, monkeypatch):
    seen = titles(monkeypatch)
    train(tmp_path, **{f"{PANELS}.interval": 2})
    assert pictures(tmp_path) == ["iter_000002.png", "iter_000004.png"]
    assert seen[0] == [
        "source image",
        "source label",
        "target image",
        "pseudo-label",
        "teacher's confidence",
        "pseudo-label weight",
        "mixed image",
        "mixed label",
        "mixed weight",
        "prediction, mixed",
        "masked image",
        "prediction, masked",
    ]
    picture = np.asarray(Image.open(tmp_path / "debug" / "iter_000004.png").convert("RGB"))
    # Five tiles of 320 pixels, four gaps of 18 and two margins of 24.
    assert picture.shape[1] == 5 * 320 + 4 * 18 + 2 * 24


def test_the_numbers_of_a_training_do_not_depend_on_it(tmp_path):
    plain = train(tmp_path / "plain").model.state_dict()
    # All pictures may wait, however slowly they are drawn.
    options = {f"{PANELS}.interval": 1, f"{PANELS}.waiting": 4}
    drawn = train(tmp_path / "drawn", **options).model.state_dict()
    assert len(pictures(tmp_path / "drawn")) == 4
    assert plain.keys() == drawn.keys()
    for name, value in plain.items():
        assert torch.equal(value, drawn[name]), name


def test_before_the_target_takes_part_only_the_source_is_shown(tmp_path, monkeypatch):
    seen = titles(monkeypatch)
    train(tmp_path, **{f"{PANELS}.interval": 1, "uda.target_start": 3})
    assert seen[:3] == [["source image", "source label"]] * 3
    assert "mixed image" in seen[3]


def test_a_picture_before_the_target_takes_part_says_so(tmp_path, monkeypatch):
    said = []
    draw = debug_panels.panel_picture

    def keep(panels, classes, title, *more):
        said.append(title)
        return draw(panels, classes, title, *more)

    monkeypatch.setattr(debug_panels, "panel_picture", keep)
    train(tmp_path, **{f"{PANELS}.interval": 1, "uda.target_start": 3})
    assert ["takes part from iteration 4 on" in title for title in said[:4]] == [True] * 3 + [False]


def test_supervised_training_shows_its_prediction(tmp_path, monkeypatch):
    seen = titles(monkeypatch)
    changes = {f"{PANELS}.interval": 4, "uda": dict(_delete_=True, type="Supervised")}
    train(tmp_path, **changes)
    assert seen == [["source image", "source label", "prediction"]]


def test_a_component_of_another_project_contributes_panels(tmp_path, monkeypatch):
    asked = []

    @COMPONENTS.register_module(name="Showing", force=True)
    class Showing(Component):
        def refine_weights(self, ctx, target, pseudo):
            asked.append(ctx.draws)
            if ctx.draws:
                shares = torch.zeros(2, 5)
                ctx.show(
                    MapPanel("entropy", -pseudo.confidence.log(), limits=None),
                    BarsPanel("shares", {"before": shares, "after": shares}),
                )
            return pseudo

    seen = titles(monkeypatch)
    train(tmp_path, **{f"{PANELS}.interval": 2, "uda.showing": dict(type="Showing")})
    assert asked == [False, True, False, True]
    # Where they were made: between the target's image and its finished labels.
    assert [step[2:6] for step in seen] == [
        ["target image", "entropy", "shares", "pseudo-label"]
    ] * 2


def test_a_full_disk_costs_pictures_and_not_the_training(tmp_path, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    messages = []
    monkeypatch.setattr(
        "mmseg_uda.visualization.background.print_log",
        lambda text, *args, level=0: messages.append((level, text)),
    )
    runner = train(tmp_path, **{f"{PANELS}.interval": 2})
    assert runner.iter == 4
    assert pictures(tmp_path) == []
    assert len(messages) == 2
    assert messages[0][0] == logging.ERROR
    assert "No space left on device" in messages[0][1]


def test_a_slow_drawing_never_blocks_the_step():
    worker = BackgroundWorker("slow", waiting=1)
    gate = []

    def wait():
        while not gate:
            time.sleep(0.005)

    done = []
    assert worker.submit(wait)
    while worker._queue.qsize():  # until the thread has taken the first
        time.sleep(0.005)
    assert worker.submit(lambda: done.append(1))
    started = time.monotonic()
    assert not worker.submit(lambda: done.append(2))
    assert time.monotonic() - started < 0.5
    assert worker.dropped == 1
    gate.append(True)
    assert worker.close()
    assert done == [1]


@pytest.mark.parametrize(
    "option",
    [dict(interval=-1), dict(images=0), dict(tile=10), dict(format="gif"), dict(waiting=0)],
)
def test_impossible_options_name_themselves(option):
    with pytest.raises(UserError, match=f"debug_panels.{next(iter(option))}="):
        DebugPanelsHook(**option)


def test_a_model_that_is_no_trainer_is_refused():
    class Runner:
        model = torch.nn.Linear(1, 1)

    with pytest.raises(UserError, match="not Linear"):
        DebugPanelsHook(interval=5).before_train(Runner())
    DebugPanelsHook(interval=0).before_train(Runner())


def test_a_panel_of_labels_is_seen_in_the_taxonomys_colors(tmp_path):
    from mmseg_uda.visualization import Snapshot, panel_picture
    from mmseg_uda.visualization.canvas import Classes

    classes = Classes(("road", "sky"), ((128, 64, 128), (70, 130, 180)))
    label = torch.tensor([[[0, 0], [1, 255]]])
    shown = Snapshot([LabelPanel("label", label)], images=1, side=640).wait()
    picture = np.asarray(panel_picture(shown, classes, "step", images=1, columns=1, tile=200))
    colors, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    found = {tuple(map(int, c)): int(n) for c, n in zip(colors, counts, strict=True)}
    quarter = 100 * 100
    assert found[(128, 64, 128)] >= 2 * quarter
    assert found[(70, 130, 180)] >= quarter
    assert found[(0, 0, 0)] >= quarter
