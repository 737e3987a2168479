"""Where a training starts, decided by the files of its folder alone."""

import pytest
import torch
from fixed_run import config

from mmseg_uda.engine import wrap_model
from mmseg_uda.engine.start import find_start
from mmseg_uda.errors import UserError


def save(path, step, cfg=None, **parts):
    meta = dict(iter=step, seed=5)
    if cfg is not None:
        meta["cfg"] = wrap_model(cfg).pretty_text
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": meta, "state_dict": {}, "optimizer": {}, **parts}, path)


def start_of(folder, steps=8, allow=False, processes=1, **changes):
    cfg = config(folder, steps)
    cfg.merge_from_dict(changes)
    return find_start(wrap_model(cfg), processes, allow)


def test_an_empty_folder(tmp_path):
    assert start_of(tmp_path).checkpoint is None
    assert start_of(tmp_path, resume=False).notes == ()


def test_the_newest_that_can_be_read(tmp_path):
    for step in (2, 4, 10):  # by number, not by name
        save(tmp_path / f"iter_{step}.pth", step, config(tmp_path, 12))
    assert start_of(tmp_path, 12).checkpoint == str(tmp_path / "iter_10.pth")
    (tmp_path / "iter_10.pth").write_bytes(b"half")
    found = start_of(tmp_path, 12)
    assert found.checkpoint == str(tmp_path / "iter_4.pth") and found.seed == 5
    assert "iter_10.pth" in found.notes[0]


def test_a_new_training_beside_old_checkpoints(tmp_path):
    save(tmp_path / "iter_4.pth", 4, config(tmp_path))
    with pytest.raises(UserError) as caught:
        start_of(tmp_path, resume=False)
    assert str(tmp_path) in caught.value.message and "iter_4.pth" in caught.value.message
    assert "--resume" in caught.value.fix and "--work-dir" in caught.value.fix


def test_one_with_a_damaged_part_is_passed_over(tmp_path):
    state = {"state": {}, "param_groups": []}
    for step, optimizer in ((2, state), (4, [1])):
        save(tmp_path / f"iter_{step}.pth", step, config(tmp_path), optimizer=optimizer)
    found = start_of(tmp_path)
    assert found.checkpoint == str(tmp_path / "iter_2.pth")
    assert "iter_4.pth is damaged: its optimizer." in found.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        {"optimizer": {}},
        {"meta": {}, "state_dict": {}},
        *(
            {"meta": meta, "state_dict": {}, "optimizer": {"state": {}, "param_groups": []}}
            for meta in ({}, None, [4], {"iter": None}, {"iter": "4"}, {"iter": -1}, {"iter": 4.0})
        ),
    ],
)
def test_weights_are_no_state(tmp_path, content):
    torch.save(content, tmp_path / "iter_4.pth")
    with pytest.raises(UserError, match=r"(?s)can be resumed.*iter_4.pth is not the state"):
        start_of(tmp_path)


def test_best_and_published_files_are_not_resumed(tmp_path):
    for name in ("best_mIoU_iter_4.pth", "published.pth", "iter_4_backup.pth", "iter_x.pth"):
        save(tmp_path / name, 4)
    assert start_of(tmp_path).checkpoint is None
    # A new training would take the best of the old one for its own, and replace it.
    with pytest.raises(UserError, match="such as best_mIoU_iter_4.pth"):
        start_of(tmp_path, resume=False)


def test_another_training_is_not_continued(tmp_path):
    save(tmp_path / "iter_4.pth", 4, config(tmp_path))
    with pytest.raises(UserError, match=r"iter_4.pth is of another training: uda.alpha changed"):
        start_of(tmp_path, **{"uda.alpha": 0.5})
    found = start_of(tmp_path, allow=True, **{"uda.alpha": 0.5})
    assert found.checkpoint and found.allow_changes and "uda.alpha" in found.notes[0]


def test_another_number_of_processes_is_another_training(tmp_path):
    state = dict(meta=dict(iter=4, cfg=wrap_model(config(tmp_path, 8)).pretty_text, processes=2))
    save(tmp_path / "iter_4.pth", 4, **state)
    assert start_of(tmp_path, processes=2).notes == ()
    with pytest.raises(UserError, match="processes changed"):
        start_of(tmp_path, processes=1)


@pytest.mark.parametrize("text", [None, "model = __import__('os')", "x = inf"])
def test_a_checkpoint_that_does_not_tell_its_config(tmp_path, text):
    save(tmp_path / "iter_4.pth", 4, meta=dict(iter=4, **({"cfg": text} if text else {})))
    (note,) = start_of(tmp_path).notes
    assert "iter_4.pth cannot be told" in note


def test_the_end(tmp_path):
    save(tmp_path / "iter_8.pth", 8, config(tmp_path, 8))
    (note,) = start_of(tmp_path, 8).notes
    assert "Nothing is left to train" in note and "max_iters=8" in note
    with pytest.raises(UserError, match=r"step 8, beyond the end .*max_iters=4"):
        start_of(tmp_path, 4)


def test_last_checkpoint_that_names_a_file_elsewhere(tmp_path):
    save(tmp_path / "there/iter_4.pth", 4, config(tmp_path))
    (tmp_path / "here").mkdir()
    (tmp_path / "here/last_checkpoint").write_text(str(tmp_path / "there/iter_4.pth"))
    found = start_of(tmp_path / "here")
    assert found.checkpoint is None
    assert str(tmp_path / "there/iter_4.pth") in found.notes[0] and "step 0" in found.notes[0]


def test_checkpoints_in_a_folder_of_their_own(tmp_path):
    """As mmengine's hook does: in a subfolder with the name of the work directory."""
    out = {"default_hooks.checkpoint.out_dir": str(tmp_path / "big")}
    save(tmp_path / "big/run/iter_4.pth", 4, config(tmp_path / "run"))
    assert start_of(tmp_path / "run", **out).checkpoint == str(tmp_path / "big/run/iter_4.pth")
    with pytest.raises(UserError, match="holds checkpoints of an earlier training"):
        start_of(tmp_path / "run", resume=False, **out)


class TestLoadFrom:
    def test_the_folders_own_checkpoint_comes_first(self, tmp_path):
        save(tmp_path / "old/iter_6.pth", 6, config(tmp_path))
        save(tmp_path / "run/iter_2.pth", 2, config(tmp_path))
        load = dict(load_from=str(tmp_path / "old/iter_6.pth"))
        assert start_of(tmp_path / "run", **load).checkpoint == str(tmp_path / "run/iter_2.pth")

    def test_a_state_of_this_training_is_resumed(self, tmp_path):
        save(tmp_path / "old/iter_6.pth", 6, config(tmp_path, 8))
        load = dict(load_from=str(tmp_path / "old/iter_6.pth"))
        assert start_of(tmp_path / "run", **load).checkpoint == load["load_from"]
        assert start_of(tmp_path / "run", resume=False, **load).checkpoint is None

    def test_another_training_gives_its_weights(self, tmp_path):
        save(tmp_path / "old/iter_6.pth", 6, config(tmp_path))
        load = dict(load_from=str(tmp_path / "old/iter_6.pth"), randomness=dict(seed=3))
        found = start_of(tmp_path / "run", **load)
        assert found.checkpoint is None
        assert "step 0" in found.notes[0] and "randomness.seed" in found.notes[0]

    def test_weights_alone(self, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "weights.pth")
        found = start_of(tmp_path / "run", load_from=str(tmp_path / "weights.pth"))
        assert found.checkpoint is None and "weights.pth is not the state" in found.notes[0]
