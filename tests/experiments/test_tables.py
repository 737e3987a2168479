import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.grid import find_experiment

ROOT = Path(__file__).resolve().parents[2]

LR = "dacs_a999_fdthings_rcs001_cpl_daformer_sepaspp_mitb5_poly10warm"
HR = "1024x1024_dacs_a999_fdthings_rcs001-20_cpl2_hrda1-512-01_daformer_sepaspp_sl_mitb5_poly10warm"
MIC = (
    "1024x1024_dacs_a999_fdthings_rcs001-20_cpl2_m64-07-sep_"
    "hrda1-512-01_daformer_sepaspp_sl_mitb5_poly10warm"
)
DLV2 = "dacs_a999_fdthings_rcs001_cpl_dlv2red_r101v1c_poly10warm"
OFF, LONG, SHORT = "rl_-1_to_-1", "rl_11999_to_40000", "rl_11999_to_39999"

NAMES = {
    90: [
        f"syn2cs_{LR}_{OFF}",
        f"syn2cs_{LR}_{LONG}",
        f"synHR2csHR_{HR}_{OFF}",
        f"synHR2csHR_{HR}_{LONG}",
        f"synHR2csHR_{MIC}_{OFF}",
        f"synHR2csHR_{MIC}_{SHORT}",
    ],
    91: [
        f"syn2cs_dacs_dlv2red_r101v1c_poly10warm_{OFF}",
        f"syn2cs_dacs_dlv2red_r101v1c_poly10warm_{SHORT}",
        f"syn2cs_{DLV2}_{OFF}",
        f"syn2cs_{DLV2}_{SHORT}",
        f"synHR2csHR_{HR}_{SHORT}",
    ],
    92: [f"syn2cs_{LR}_{LONG}"],
    93: [
        f"gta162cs_{LR}_{OFF}",
        f"gta162cs_{LR}_{LONG}",
        f"gta16HR2csHR_{MIC}_{OFF}",
        f"gta16HR2csHR_{MIC}_{SHORT}",
    ],
    94: [
        f"syn2acdc_{LR}_{OFF}",
        f"synHR2acdcHR_{HR}_{OFF}",
        f"synHR2acdcHR_{MIC}_{OFF}",
        f"synHR2acdcHR_{MIC}_{SHORT}",
    ],
}
JOBS = {90: 18, 91: 15, 92: 3, 93: 12, 94: 12}


@pytest.mark.parametrize("number", NAMES)
def test_every_row_and_seed_has_its_published_name(tables, number):
    jobs = find_experiment(tables, number).jobs()
    assert [job.name for job in jobs] == [f"{n}_s{s}" for n in NAMES[number] for s in (0, 1, 2)]
    assert len(jobs) == JOBS[number]


def test_collection_runs_wherever_a_source_class_is_discovered(tables):
    for experiment in tables:
        for row in experiment.rows:
            csi = row.setup.relabelling
            if csi.active and any(pair.source is None for pair in csi.pairs):
                assert csi.collect == (7999, 11999)
                assert csi.relabel[0] == csi.collect[1]


def test_the_unfiltered_table_differs_from_table_1_in_the_classifier_alone(tables):
    filtered = find_experiment(tables, 90).rows[1].setup
    unfiltered = find_experiment(tables, 92).rows[0].setup
    assert {p.crop_score for p in unfiltered.relabelling.pairs} == {None}
    assert [p.crop_score for p in filtered.relabelling.pairs] == [0.1, 0.5, 0.5]
    assert [p.target for p in filtered.relabelling.pairs] == ["terrain", "truck", "train"]


def test_derived_numbers_are_labelled(tables):
    rows = find_experiment(tables, 90).rows
    assert [r.reported.values["mIoU"] if r.reported else None for r in rows] == [
        51.28,
        None,
        55.41,
        None,
        56.67,
        None,
    ]
    dacs = find_experiment(tables, 91).rows[0].reported
    assert dacs.values["mIoU"] == 40.67
    assert dacs.origin == "derived, other code base"


def test_unknown_ids_and_rows_are_answered(tables):
    with pytest.raises(UserError, match="no experiment 7") as error:
        find_experiment(tables, 7)
    assert "90, 91, 92, 93, 94" in error.value.fix
    with pytest.raises(UserError, match="no row 9") as error:
        find_experiment(tables, 90).jobs(rows=[1, 9])
    assert "1 to 6" in error.value.fix


def test_listing_imports_neither_torch_nor_mmengine(environment):
    code = (
        "import sys; sys.argv = ['run_experiments.py', '--list']\n"
        "import experiments\n"
        "from mmseg_uda.experiments.cli import main\n"
        "assert main(experiments.EXPERIMENTS) == 0\n"
        "print([m for m in ('torch', 'mmengine', 'mmseg') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    for number, jobs in JOBS.items():
        assert any(f" {number} " in line and f" {jobs} " in line for line in lines)
