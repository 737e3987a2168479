from dataclasses import replace

import pytest

from mmseg_uda.experiments.grid import DepthMatching, Masking, Relabelling, Setup
from mmseg_uda.experiments.naming import job_name

FINAL = Setup(uda="dacs_a999_fdthings", rcs_temperature=0.01, margins="v1")


@pytest.mark.parametrize(
    ("setup", "name"),
    [
        (  # MIC, experiment 80, first row
            Setup(
                source="gtaHR",
                target="cityscapesHR",
                crop="1024x1024",
                uda="dacs_a999_fdthings",
                rcs_temperature=0.01,
                rcs_min_crop=2.0,
                margins="v2",
                masking=Masking("separatetrgaug", 0.7, 64),
                architecture="hrda1-512-0.1_daformer_sepaspp",
                inference="slide",
            ),
            "gtaHR2csHR_1024x1024_dacs_a999_fdthings_rcs001-20_cpl2_m64-07-spta_"
            "hrda1-512-01_daformer_sepaspp_sl_mitb5_poly10warm_s0",
        ),
        (  # MIC, experiment 81, first row
            Setup(
                uda="advseg",
                masking=Masking("separatetrgaug", 0.7, 32),
                architecture="dlv2red",
                backbone="r101v1c",
                optimizer="sgd",
                lr=0.0025,
                pmult=False,
            ),
            "gta2cs_advseg_m32-07-spta_dlv2red_r101v1c_poly10warm_sgd_00025_pmF_s0",
        ),
        (  # DAFormer, experiment 5
            Setup(architecture="segformer", rcs_temperature=float("inf")),
            "gta2cs_dacs_rcsinf_segformer_mitb5_poly10warm_s0",
        ),
        (  # HRDA, experiment 43, first row
            Setup(source="", crop="128x128", uda="target-only", inference="slide"),
            "2cs_128x128_target-only_daformer_sepaspp_sl_mitb5_poly10warm_s0",
        ),
        (  # ours: CDDA's thresholds and decay
            replace(FINAL, depth=DepthMatching("bank", 24966, 0.56, 0.54, 0.0025)),
            "gta2cs_dacs_a999_fdthings_rcs001_cpl_cdda056-054-00025_"
            "daformer_sepaspp_mitb5_poly10warm_s0",
        ),
        (
            replace(
                FINAL,
                depth=DepthMatching(
                    "bank", 9400, 0.49, 0.47, 0.001, ("replace_source",), "first_row", "last"
                ),
            ),
            "gta2cs_dacs_a999_fdthings_rcs001_cpl_cdda049-047-0001-s-row-last_"
            "daformer_sepaspp_mitb5_poly10warm_s0",
        ),
        (  # MIC, experiment 83: no confidence weight
            replace(FINAL, masking=Masking("separatetrgaug", 0.7, 32, threshold=None)),
            "gta2cs_dacs_a999_fdthings_rcs001_cpl_m32-07-pN-spta_"
            "daformer_sepaspp_mitb5_poly10warm_s0",
        ),
        (  # MIC, experiment 83: teacher = student
            replace(FINAL, masking=Masking("separatetrgaug", 0.7, 32, alpha=0, weight=0.5)),
            "gta2cs_dacs_a999_fdthings_rcs001_cpl_m32-07-a0-spta-w05_"
            "daformer_sepaspp_mitb5_poly10warm_s0",
        ),
        (
            replace(FINAL, target="darkzurich", source="cityscapes", sync_crop=(256, 512), seed=2),
            "cs2dzur_dacs_a999_fdthings_rcs001_sf256x512_cpl_daformer_sepaspp_mitb5_poly10warm_s2",
        ),
        (
            Setup(relabelling=Relabelling(relabel=(11999, 40000)), optimizer="sgd", seed=None),
            "gta2cs_dacs_daformer_sepaspp_mitb5_poly10warm_rl_11999_to_40000_sgd",
        ),
    ],
)
def test_names_follow_the_lineages_grammar(setup, name):
    assert job_name(setup) == name


@pytest.mark.parametrize(
    ("mode", "tag"),
    [
        ("separate", "sep"),
        ("separateaug", "spa"),
        ("separatesrc", "sps"),
        ("separatesrcaug", "spsa"),
        ("separatetrg", "spt"),
        ("separatetrgaug", "spta"),
    ],
)
def test_masking_modes(mode, tag):
    name = job_name(replace(FINAL, masking=Masking(mode, 0.7, 64)))
    assert f"_m64-07-{tag}_" in name
