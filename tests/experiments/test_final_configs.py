from pathlib import Path

import pytest

from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan, read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FINAL = sorted(
    path for room in ("daformer", "hrda", "mic", "csi") for path in (CONFIGS / room).glob("*.py")
)

# Final configs of CSI that are rows of its tables.
ROWS = {
    "syn2cs_csi_daformer": (90, 2),
    "synHR2csHR_csi_hrda": (90, 4),
    "synHR2csHR_csi_mic": (90, 6),
    "gta162cs_csi_daformer": (93, 2),
    "gta16HR2csHR_csi_mic": (93, 4),
    "synHR2acdcHR_csi_mic": (94, 4),
}


def test_there_is_one_per_method_and_benchmark():
    assert len(FINAL) == 21


@pytest.mark.parametrize("path", FINAL, ids=lambda path: path.stem)
def test_it_reads_and_is_annotated(path):
    assert path.read_text().startswith("# ")
    config = read_config(path)
    assert config["uda"]["type"] == "SelfTraining"
    assert config["uda"]["alpha"] == 0.999
    assert ("masking" in config["uda"]) == ("_mic" in path.stem)
    assert ("relabel" in config["uda"]) == ("_csi" in path.stem)
    assert (config["model"]["type"] == "HRDAEncoderDecoder") == ("HR2" in path.stem)
    # only CSI's recipe averages over labelled pixels
    average = config["model"]["decode_head"]["loss_decode"]["avg_non_ignore"]
    assert average is ("_csi" in path.stem)


@pytest.mark.parametrize("stem", ROWS)
def test_it_is_the_tables_row(stem, tables, tmp_path):
    number, row = ROWS[stem]
    experiment = find_experiment(tables, number)
    (job,) = plan(experiment, experiment.jobs([row], [0]), Options(work_dir=tmp_path))
    assert read_config(CONFIGS / "csi" / f"{stem}.py") == job.resolved


@pytest.mark.parametrize(
    ("path", "mode", "margins"),
    [
        ("mic/gtaHR2csHR_mic_hrda.py", "separatetrgaug", [30, 240, 30, 30]),
        ("mic/csHR2acdcHR_mic_hrda.py", "separate", None),
    ],
)
def test_mic_masks_and_margins_depend_on_the_benchmark(path, mode, margins):
    config = read_config(CONFIGS / path)
    assert config["uda"]["masking"]["mode"] == mode
    target = config["train_dataloader"]["dataset"]["target"]
    assert target.get("crop_pseudo_margins") == margins
