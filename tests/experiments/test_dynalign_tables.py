"""Jobs that read from other jobs: the tables of taxonomy alignment."""

import json
import sys
from pathlib import Path

import pytest

from mmseg_uda.experiments import cli, disk, profiles
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.executors import Task, take_ready
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.jobs import Action, State
from mmseg_uda.experiments.plan import Options, check_fingerprints, plan

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs" / "dynalign"
FAKE_ALIGN = (sys.executable, str(HERE / "fake_align.py"))
FAKE_TRAIN = (sys.executable, str(HERE / "fake_train.py"))
NO_WORLD = (sys.executable, "-c", "")
SOURCE, DIRECT, DEFAULT = "gtaHR2csHR_hrda_s0", "gta2idd_dynalign_s0", "gta2idd_dynalign_default_s0"
LABELS, RETRAIN = "gta2idd_labels_s0", "gta2idd_retrain_s0"
MINI = ("--exp", "601", "--profile", "mini", "--cpu-jobs", "2")


@pytest.fixture
def run(tables, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(cli.preflight, "require", lambda *args, **kwargs: None)

    def call(*arguments):
        status = cli.main(
            tables,
            ["--work-dir", str(tmp_path), *arguments],
            train=FAKE_TRAIN,
            make_world=NO_WORLD,
            align=FAKE_ALIGN,
        )
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


def planned(tables, tmp_path, number=601, profile="mini", rows=None, seeds=(0,), **options):
    chosen = Options(profile=profile, work_dir=tmp_path, **options)
    table = chosen.table(find_experiment(tables, number))
    return plan(table, table.jobs(rows, seeds), chosen)


def test_rows_bring_the_rows_that_they_need(tables):
    table = find_experiment(tables, 601)
    assert [job.name for job in table.jobs([5], [0])] == [SOURCE, LABELS, RETRAIN]
    assert [job.name for job in table.jobs([3], [0])] == [SOURCE, DIRECT, DEFAULT]
    assert [job.row_number for job in table.jobs([3, 1], [0, 1])] == [1, 1, 2, 2, 3, 3]


def test_inputs_are_those_of_the_same_seed(tables, tmp_path):
    jobs = {one.job.name: one for one in planned(tables, tmp_path, seeds=(0, 1))}
    folder = tmp_path / "exp601-mini"
    config = jobs["gta2idd_dynalign_default_s1"].resolved
    assert config["source"]["run"] == str(folder / "gtaHR2csHR_hrda_s1")
    assert config["source"]["config"] == str(folder / "configs" / "gtaHR2csHR_hrda_s1.py")
    assert config["reuse"] == str(folder / "gta2idd_dynalign_s1")
    assert config["alignment"]["options"]["threshold"] == 1.0
    retrain = jobs["gta2idd_retrain_s1"]
    assert retrain.needs == ("gtaHR2csHR_hrda_s1", "gta2idd_labels_s1")
    data = retrain.resolved["train_dataloader"]["dataset"]["source"]
    assert data["results"] == str(folder / "gta2idd_labels_s1" / "train")
    assert data["images"]["data_root"] == "data/miniworld/idd"
    assert retrain.resolved["uda"]["source_checkpoint"] == str(folder / "gtaHR2csHR_hrda_s1")


def prints(jobs):
    return {one.job.name: one.fingerprint for one in jobs}


def test_fingerprints_follow_the_inputs_and_not_their_place(tables, tmp_path):
    first = prints(planned(tables, tmp_path / "a"))
    assert prints(planned(tables, tmp_path / "b")) == first
    changed = prints(planned(tables, tmp_path / "a", cfg_options=("uda.alpha=0.5",)))
    assert all(changed[name] != value for name, value in first.items())


def test_the_whole_chain_runs_in_order(run, tmp_path):
    status, text = run(*MINI)
    folder = tmp_path / "exp601-mini"
    assert status == 0 and "done: 5 of 5 jobs" in text
    assert (folder / DEFAULT / "calls.txt").read_text().startswith("align True")
    report = (folder / "results.md").read_text()
    assert "| # | row | seeds | mIoU | known classes | new classes |" in report
    assert "| 2 | direct inference | 1/1 | 30.0 | 45.0 | 20.0 |" in report
    assert "| 3 | default mapping (threshold 1.0) | 1/1 | 30.0 | 45.0 | 0.0 |" in report
    status, text = run(*MINI)
    assert status == 0
    assert len((folder / DIRECT / "calls.txt").read_text().splitlines()) == 1


def test_jobs_without_their_inputs_are_left_out_and_run_later(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ALIGN_FAIL", "labels")
    status, text = run(*MINI)
    folder = tmp_path / "exp601-mini"
    assert status == 1
    assert f"left out: it needs {LABELS}, which is not done" in text
    assert not (folder / RETRAIN / "calls.txt").exists()
    assert json.loads((folder / DEFAULT / "status.json").read_text())["state"] == "done"
    monkeypatch.delenv("FAKE_ALIGN_FAIL")
    status, _ = run(*MINI, "--retry-failed")
    assert status == 0
    assert (folder / RETRAIN / "calls.txt").exists()


class Notes(list):
    def note(self, task, text):
        self.append((task.job, text))


@pytest.fixture
def chain():
    """a <- b <- c, as names; jobs are their names here."""

    class Name(str):
        name = property(str)

    needs = {"a": (), "b": ("a",), "c": ("b",)}
    return [Task(Name(n), None, None, "", needs=needs[n]) for n in needs]  # type: ignore[arg-type]


def test_a_task_waits_until_its_input_is_done(chain):
    waiting, notes = list(chain), Notes()
    a, b, c = chain
    assert take_ready(waiting, chain, notes) is a
    a.action, a.ran, a.state = Action.START, True, State.RUNNING
    assert take_ready(waiting, chain, notes) is None
    a.state = State.DONE
    assert take_ready(waiting, chain, notes) is b
    b.action = Action.SKIP_DONE
    b.state = State.DONE
    assert take_ready(waiting, chain, notes) is c
    assert not notes


@pytest.mark.parametrize(
    ("action", "state", "ran"),
    [
        (Action.RESUME, State.FAILED, True),
        (Action.START, State.INTERRUPTED, True),
        (Action.SKIP_FAILED, State.FAILED, False),
        (Action.SKIP_LOCKED, State.RUNNING, False),
    ],
)
def test_all_that_hang_on_a_lost_input_are_left_out(chain, action, state, ran):
    waiting, notes = list(chain), Notes()
    a = take_ready(waiting, chain, notes)
    a.action, a.state, a.ran = action, state, ran
    assert take_ready(waiting, chain, notes) is None
    assert [job for job, _ in notes] == ["b", "c"]
    assert waiting == []


def test_the_startup_test_keeps_what_the_next_job_needs(tables, tmp_path):
    jobs = {one.job.name: one.resolved for one in planned(tables, tmp_path, variant="startup")}
    assert jobs[SOURCE]["default_hooks"]["checkpoint"]["save_last"] is True
    assert jobs[RETRAIN]["default_hooks"]["checkpoint"]["save_last"] is False
    assert jobs[LABELS]["limit"] == 2
    assert jobs[RETRAIN]["train_dataloader"]["dataset"]["source"]["partial"] is True


def test_the_miniworld_stands_in_for_sam_and_clip(tables, tmp_path):
    direct = planned(tables, tmp_path, 603)[1].resolved
    assert direct["alignment"]["proposer"]["type"] == "FelzenszwalbProposer"
    assert direct["alignment"]["scorer"]["checkpoint"] == "pretrained/miniworld/detail_clip"
    assert direct["alignment"]["options"]["threshold"] == 0.6
    assert direct["alignment"]["options"]["context_offsets"] == (0, 27)  # 200 of 1920 pixels
    kinds = [one.resolved.get("alignment", {}) for one in planned(tables, tmp_path, 603)]
    names = [kind["proposer"]["type"] for kind in kinds if kind]
    assert names[1:5] == [
        "SLICProposer",
        "FelzenszwalbProposer",
        "GridProposer",
        "ConnectedComponentProposer",
    ]
    configs = [one.resolved for one in planned(tables, tmp_path)]
    assert profiles.world_groups(configs) == ["taxonomy"]
    assert profiles.world_leftovers(configs) == ["clip"]  # CSI's
    assert profiles.world_leftovers([one.resolved for one in planned(tables, tmp_path, 90)]) == []


def test_published_settings(tables, tmp_path):
    direct = planned(tables, tmp_path, 600, "paper", [2])[1].resolved["alignment"]
    assert direct["taxonomy"] == "mapillary_v5"
    assert direct["options"] == {"threshold": 0.6}
    assert direct["proposer"] == {"type": "SamProposer"}
    assert direct["scorer"]["checkpoint"] == "convnext_large_d_320"
    retrain = planned(tables, tmp_path, 600, "paper", [5])[-1].resolved
    assert retrain["optim_wrapper"]["optimizer"]["lr"] == 6e-5
    assert retrain["train_cfg"]["max_iters"] == 40000
    assert retrain["train_dataloader"]["batch_size"] == 2
    assert retrain["model"]["decode_head"]["num_classes"] == 66


def test_ablations_change_one_thing_each(tables, tmp_path):
    jobs = planned(tables, tmp_path, 602, "paper")
    assert len({one.fingerprint for one in jobs}) == len(jobs)
    complete = jobs[1].resolved["alignment"]
    for one in jobs[2:]:
        own = one.resolved["alignment"]
        changed = {k for k, v in own["options"].items() if complete["options"].get(k) != v}
        assert len(changed) == 1, one.job.name
        assert {k: v for k, v in own.items() if k != "options"} == {
            k: v for k, v in complete.items() if k != "options"
        }


def test_no_published_numbers(tables):
    for number in range(600, 606):
        assert all(row.reported is None for row in find_experiment(tables, number).rows)


def test_the_demand_on_the_disk(tables, tmp_path):
    jobs = {one.job.name: one for one in planned(tables, tmp_path, 600, "paper")}
    assert disk.estimate(jobs["gta2mapillary_labels_s0"]).to_come > 20e9  # 18 000 images
    assert disk.estimate(jobs["gta2mapillary_dynalign_s0"]).to_come < 5e9
    check_fingerprints(list(jobs.values()))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_every_config_reads_and_is_annotated(path):
    assert path.read_text().startswith("# ")
    config = plain_config(path)
    assert ("alignment" in config) != ("uda" in config)


def test_options_of_trainings_and_of_alignments_reach_all_jobs(tables, tmp_path):
    changes = ("uda.freeze_known=True", "alignment.options.threshold=0.4", "limit=2")
    jobs = planned(tables, tmp_path, cfg_options=changes)
    assert all(one.effective["limit"] == 2 for one in jobs)
    assert all(one.effective["uda"]["freeze_known"] for one in jobs)
