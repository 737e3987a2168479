import subprocess
import sys
from copy import deepcopy
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
SPTA = MIC.replace("-sep_", "-spta_")
CDDA = {"gta": "cdda056-054", "syn": "cdda049-047"}
OFF, LONG, SHORT = "rl_-1_to_-1", "rl_11999_to_40000", "rl_11999_to_39999"


def with_cdda(name, source, rest):
    """The adaptation part ends before the architecture."""
    for architecture in ("_hrda1", "_daformer"):
        before, found, after = name.partition(architecture)
        if found:
            return f"{before}_{CDDA[source]}-{rest}{found}{after}"
    raise AssertionError(name)


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
    **{
        number: [
            f"{source}2cs_{LR}",
            f"{source}2cs_{with_cdda(LR, source, decays[0])}",
            f"{source}HR2csHR_{HR}",
            f"{source}HR2csHR_{with_cdda(HR, source, decays[1])}",
            f"{source}HR2csHR_{SPTA}",
            f"{source}HR2csHR_{with_cdda(SPTA, source, decays[1])}",
        ]
        for number, source, decays in (
            (300, "syn", ("0001", "0002")),
            (301, "gta", ("00025", "0003")),
        )
    },
    302: [
        f"gta2cs_{LR}",
        *(
            f"gta2cs_{with_cdda(LR, 'gta', f'00025{tag}')}"
            for tag in ("-r", "-s", "-g", "", "-row-last")
        ),
    ],
    94: [
        f"syn2acdc_{LR}_{OFF}",
        f"synHR2acdcHR_{HR}_{OFF}",
        f"synHR2acdcHR_{MIC}_{OFF}",
        f"synHR2acdcHR_{MIC}_{SHORT}",
    ],
}
JOBS = {90: 18, 91: 15, 92: 3, 93: 12, 94: 12, 300: 18, 301: 18, 302: 18}


@pytest.mark.parametrize("number", NAMES)
def test_every_row_and_seed_has_its_published_name(tables, number):
    jobs = find_experiment(tables, number).jobs()
    assert [job.name for job in jobs] == [f"{n}_s{s}" for n in NAMES[number] for s in (0, 1, 2)]
    assert len(jobs) == JOBS[number]


def test_collection_runs_wherever_a_source_class_is_discovered(tables):
    phases = set()
    for experiment in (table for table in tables if table.paper == "CSI"):
        for row in experiment.rows:
            csi = row.resolved["uda"]["relabel"]
            if csi is not None and any(pair["source"] is None for pair in csi["mapping"]):
                phases.add((csi["collect"], csi["relabel"][0]))
    assert phases == {((7999, 11999), 11999)}


def test_the_unfiltered_table_differs_from_table_1_in_the_classifier_alone(tables):
    filtered = deepcopy(find_experiment(tables, 90).rows[1].resolved)
    unfiltered = find_experiment(tables, 92).rows[0].resolved
    assert unfiltered != filtered
    mapping = filtered["uda"]["relabel"]["mapping"]
    assert [pair["crop_score"] for pair in mapping] == [0.1, 0.5, 0.5]
    for pair in mapping:
        pair["crop_score"] = None
    assert unfiltered == filtered


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


# Means over the printed classes: 19, or 16 and 13 of them.
MEANS = {
    300: [(60.90, 67.4), (63.27, 69.7), (65.79, 72.4), (67.32, 74.0), (67.29, 74.0), (68.76, 75.6)],
    301: [(68.25,), (69.64,), (73.79,), (75.17,), (75.86,), (76.91,)],
}
SMALL = ("wall", "fence", "pole")


@pytest.mark.parametrize("number", MEANS)
def test_published_classes_of_cdda_give_the_published_means(tables, number):
    for row, means in zip(find_experiment(tables, number).rows, MEANS[number], strict=True):
        values = row.reported.values
        ious = {k.removeprefix("IoU."): v for k, v in values.items() if k.startswith("IoU.")}
        assert len(ious) == (19 if number == 301 else 16)
        assert sum(ious.values()) / len(ious) == pytest.approx(means[0], abs=0.005)
        printed = values["mIoU" if number == 301 else "mIoU_16"]
        # rounded, or truncated where CDDA is at work
        assert 0 <= means[0] - printed < 0.1 or abs(means[0] - printed) <= 0.05
        if number == 300:
            large = [v for name, v in ious.items() if name not in SMALL]
            assert sum(large) / 13 == pytest.approx(means[1], abs=0.06)
        assert row.reported.origin.startswith("best of 40" if "CDDA" in row.label else "last")


def test_a_scaled_mean_over_16_classes_is_right_only_without_the_missing_ones(tables):
    """MIC + CDDA: 19 classes of which three score 0, scaled by 19/16."""
    values = find_experiment(tables, 300).rows[5].reported.values
    ious = [v for k, v in values.items() if k.startswith("IoU.")]
    assert sum(ious) / 19 == pytest.approx(57.905, abs=0.001)
    assert sum(ious) / 19 * 19 / 16 == pytest.approx(68.76, abs=0.005)


def test_unknown_ids_and_rows_are_answered(tables):
    with pytest.raises(UserError, match="no experiment 9") as error:
        find_experiment(tables, 9)
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
