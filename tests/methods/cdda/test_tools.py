"""The commands that build banks, and their errors."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from depth_world import pair_config, write_world
from mmengine.config import Config

from mmseg_uda.cli import run_tool
from mmseg_uda.methods.cdda import DepthBank

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A world, and a config that trains on it."""
    root = write_world(tmp_path_factory.mktemp("project"))
    config = Config(
        dict(
            custom_imports=dict(imports=["mmseg_uda.register_all"], allow_failed_imports=False),
            train_dataloader=dict(dataset=pair_config(root)),
            uda=dict(
                type="SelfTraining",
                depth=dict(
                    type="DepthSimilarity",
                    bank=str(root / "from_config"),
                    build=dict(count=5, workers=0),
                ),
            ),
        )
    )
    config.dump(root / "train.py")
    return root


@pytest.fixture
def run(monkeypatch, capsys):
    """Calls a script's main; gives exit status and output, as ``run_tool`` would."""

    def call(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        spec = importlib.util.spec_from_file_location("script_under_test", ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.chdir(ROOT)
        with pytest.raises(SystemExit) as end:
            run_tool(module.main)
        captured = capsys.readouterr()
        return end.value.code, " ".join((captured.out + captured.err).split())

    return call


def test_the_tool_takes_the_configs_bank_and_draws(project, run):
    tool, config = "tools/build_depth_bank.py", project / "train.py"
    status, text = run(tool, "--config", config)
    assert status == 0 and "5 crops are in" in text
    assert len(DepthBank.open(project / "from_config")) == 5
    other = project / "other"
    options = ("--count", 3, "--sampling", "uniform", "--workers", 1)
    assert run(tool, "--config", config, "--out", other, *options)[0] == 0
    assert DepthBank.open(other).meta.sampling == "uniform"
    status, text = run(tool, "--config", config, "--seed", 4)
    assert status == 2 and "other settings: seed 0 instead of 4" in text
    assert run(tool, "--config", config, "--seed", 4, "--force")[0] == 0


def test_no_target_is_needed_to_draw(project, run, tmp_path):
    config = Config.fromfile(project / "train.py")
    config.train_dataloader.dataset.target.data_root = str(tmp_path / "nowhere")
    config.dump(tmp_path / "train.py")
    banks = []
    for file in (project / "train.py", tmp_path / "train.py"):
        out = tmp_path / f"bank{len(banks)}"
        assert run("tools/build_depth_bank.py", "--config", file, "--out", out)[0] == 0
        banks.append(DepthBank.open(out).counts)
    assert np.array_equal(*banks)


def test_the_original_command_in_one_and_in_two_steps(project, run, tmp_path):
    # the original's examples leave .py out
    command = ("run_seg.py", "--config", project / "train", "--dataset_name", "gta", "--count", 4)
    command = (*command, "--workers", 0, "--source_preprocessed_path")
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert run(*command, once)[0] == 0
    assert run(*command, twice, "--not_get_distributions")[0] == 0
    assert not (twice / "counts.npy").exists()
    assert run(*command, twice, "--not_get_images")[0] == 0
    assert DepthBank.open(once).fingerprint == DepthBank.open(twice).fingerprint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--not_get_images", "--not_get_distributions"), "leave nothing to do"),
        (("--dataset_name", "cityscapes"), "--dataset_name cityscapes is unknown"),
        (("--dataset_name", "synthia"), "does not go with"),
        (("--exp", "7"), "--exp does not say"),
        (("--not_get_images", "--source_preprocessed_path", "no/where"), "is missing"),
    ],
)
def test_wrong_calls_of_the_original_command(project, run, arguments, words):
    status, text = run("run_seg.py", "--config", project / "train.py", *arguments)
    assert status == 2 and words in text


def test_the_benchmark_agrees_with_the_formulas():
    from mmseg_uda.benchmarks.cdda import measure

    result = measure(count=200, classes=19, crop=(64, 64), batch=2, device="cpu")
    assert result["histograms_agree"] and result["searches_agree"] and result["pruned_agrees"]
    assert result["score_difference"] < 1e-5
    assert result["bank_bytes"] == 19 * 200 * 256 * 4
