import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import slots
from mmseg_uda.experiments.slots import make_slots


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """A machine with three GPUs, as nvidia-smi tells."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def visible(found):
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found]


def test_one_slot_per_gpu(gpus):
    assert visible(make_slots(None, None, None, jobs=18, small=False)) == ["0", "1", "2"]
    assert visible(make_slots("0,2", None, None, jobs=18, small=False)) == ["0", "2"]


def test_visible_devices_are_respected(gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible(make_slots("all", None, None, jobs=18, small=False)) == ["1"]
    with pytest.raises(UserError, match="GPUs 1"):
        make_slots("0", None, None, jobs=18, small=False)


@pytest.mark.parametrize(
    ("cores", "jobs", "small", "expected"),
    [
        (2, 8, True, [("1", 2)]),  # two cores: two trainings with one thread each
        (8, 4, True, [("2", 4)]),  # more cores than jobs: the jobs share them
        (1, 8, True, [("1", 1)]),
        (8, 18, False, [("8", 1)]),  # a paper's network gets the machine to itself
    ],
)
def test_cpu_cores_are_shared_out(monkeypatch, cores, jobs, small, expected):
    monkeypatch.setattr(slots, "usable_cores", lambda: cores)
    found = make_slots("cpu", None, None, jobs=jobs, small=small)
    assert [(found[0].environment["OMP_NUM_THREADS"], len(found))] == expected
    assert visible(found) == [""] * len(found)


def test_cpu_options_win(monkeypatch):
    monkeypatch.setattr(slots, "usable_cores", lambda: 2)
    found = make_slots("cpu", 3, 5, jobs=8, small=True)
    assert [slot.environment["OMP_NUM_THREADS"] for slot in found] == ["5"] * 3


def test_groups_of_gpus(gpus):
    found = make_slots(None, None, None, jobs=18, small=False, gpus_per_job=2)
    assert visible(found) == ["0,1"]  # the third GPU makes no pair
    assert [(slot.name, slot.processes) for slot in found] == [("GPU 0+1", 2)]
    assert visible(make_slots("2,0,1", None, None, 18, False, gpus_per_job=3)) == ["2,0,1"]
    with pytest.raises(UserError, match="only 1 GPU to use"):
        make_slots("1", None, None, jobs=18, small=False, gpus_per_job=2)


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(slots, "usable_cores", lambda: 8)
    (slot,) = make_slots("cpu", None, None, jobs=5, small=False, gpus_per_job=2)
    assert (slot.processes, slot.environment["OMP_NUM_THREADS"]) == (2, "4")
    found = make_slots("cpu", None, None, jobs=2, small=True, gpus_per_job=2)
    assert [slot.environment["OMP_NUM_THREADS"] for slot in found] == ["2", "2"]
