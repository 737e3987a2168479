import pytest

from mmseg_uda.experiments.grid import Base, Row

DATA, MASK = "train_dataloader.dataset", "uda.masking"
DAFORMER, HRDA, MIC = (
    *("daformer/gta2cs_daformer", "hrda/gtaHR2csHR_hrda"),
    "mic/gtaHR2csHR_mic_hrda",
)
DACS = {"uda": Base("recipes/default", "dacs"), f"{DATA}.rare_class_sampling": None}
MASKED = {MASK: Base("methods/mic", "mic"), f"{MASK}.block_size": 32}
LR = "dacs_a999_fdthings_rcs001_cpl"
HR = "1024x1024_dacs_a999_fdthings_rcs001-20_cpl2"


def network(name):
    return {"model": Base(f"networks/{name}", "model")}


@pytest.mark.parametrize(
    ("config", "changes", "name"),
    [
        # MIC, experiment 80, first row
        (MIC, {}, f"gtaHR2csHR_{HR}_m64-07-spta_hrda1-512-01_daformer_sepaspp_sl_mitb5_poly10warm"),
        # MIC, experiment 80: no margins
        (
            "mic/csHR2dzurHR_mic_hrda",
            {},
            "csHR2dzurHR_1024x1024_dacs_a999_fdthings_rcs001-20_m64-07-sep_"
            "hrda1-512-01_daformer_sepaspp_sl_mitb5_poly10warm",
        ),
        # the optimizer of MIC's experiment 81
        (
            DAFORMER,
            {
                **network("dlv2red_r101v1c"),
                **DACS,
                **MASKED,
                "optim_wrapper.optimizer": {"type": "SGD", "lr": 0.0025},
                "optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult": 1.0,
            },
            "gta2cs_dacs_m32-07-spta_dlv2red_r101v1c_poly10warm_sgd_00025_pmF",
        ),
        # DAFormer, experiment 5
        (
            DAFORMER,
            {
                **network("segformer_mitb5"),
                "uda": Base("recipes/default", "dacs"),
                f"{DATA}.rare_class_sampling.class_temp": float("inf"),
            },
            "gta2cs_dacs_rcsinf_segformer_mitb5_poly10warm",
        ),
        (
            DAFORMER,
            {**DACS, "uda.feature_distance": {"type": "FeatureDistance", "classes": None}},
            "gta2cs_dacs_fd_daformer_sepaspp_mitb5_poly10warm",
        ),
        # DAFormer, experiment 1
        (
            DAFORMER,
            {
                **network("dlv2red_r101v1c"),
                "uda": Base("recipes/default", "supervised"),
                f"{DATA}.source": Base("domains/gta", "source_gtaCAug"),
                f"{DATA}.target": None,
                f"{DATA}.rare_class_sampling": None,
            },
            "gta2cs_source-only_dlv2red_r101v1c_poly10warm",
        ),
        # DAFormer, experiment 4
        (
            DAFORMER,
            {**DACS, "param_scheduler": Base("recipes/default", "poly10")},
            "gta2cs_dacs_daformer_sepaspp_mitb5_poly10",
        ),
        # HRDA, experiment 41: adversarial training has distorted sources
        (
            DAFORMER,
            {**DACS, f"{DATA}.source": Base("domains/gta", "source_gtaCAug")},
            "gtaCAug2cs_dacs_daformer_sepaspp_mitb5_poly10warm",
        ),
        # HRDA, experiment 43, first row
        (
            DAFORMER,
            {
                "uda": Base("recipes/default", "supervised"),
                f"{DATA}.source": Base("domains/cityscapes", "source_cityscapesCAug"),
                f"{DATA}.source.pipeline.3.crop_size": (128, 128),
                f"{DATA}.target": None,
                f"{DATA}.rare_class_sampling": None,
                "model.test_cfg.mode": "slide",
            },
            "2cs_128x128_target-only_daformer_sepaspp_sl_mitb5_poly10warm",
        ),
        # HRDA, experiment 42
        (
            "daformer/cs2dzur_daformer",
            {f"{DATA}.sync_crop_size": (256, 512)},
            "cs2dzur_dacs_a999_fdthings_rcs001_sf256x512_cpl_daformer_sepaspp_mitb5_poly10warm",
        ),
        # MIC, experiment 83: no confidence weight; teacher = student
        (
            DAFORMER,
            {**MASKED, f"{MASK}.pseudo_threshold": None},
            f"gta2cs_{LR}_m32-07-pN-spta_daformer_sepaspp_mitb5_poly10warm",
        ),
        (
            DAFORMER,
            {**MASKED, f"{MASK}.alpha": 0, f"{MASK}.loss_weight": 0.5},
            f"gta2cs_{LR}_m32-07-a0-spta-w05_daformer_sepaspp_mitb5_poly10warm",
        ),
        # MIC, experiment 85
        (
            DAFORMER,
            {
                "uda": Base("recipes/default", "source_only"),
                f"{DATA}.source": Base("domains/cityscapes", "source_cityscapes"),
                f"{DATA}.target": Base("domains/cityscapes", "source_cityscapes"),
                f"{DATA}.rare_class_sampling": None,
                **MASKED,
                f"{MASK}.mode": "separatesrc",
            },
            "cs2cs_dacs_srconly_m32-07-sps_daformer_sepaspp_mitb5_poly10warm",
        ),
        # ours: CDDA's thresholds and decay
        (
            "cdda/gta2cs_cdda_daformer",
            {},
            f"gta2cs_{LR}_cdda056-054-00025_daformer_sepaspp_mitb5_poly10warm",
        ),
        (
            "cdda/synthia2cs_cdda_daformer",
            {
                "uda.depth.reweight": False,
                "uda.depth.guidance": False,
                "uda.depth.reweight_mask": "first_row",
                "uda.depth.guidance_trigger": "last",
            },
            f"syn2cs_{LR}_cdda049-047-0001-s-row-last_daformer_sepaspp_mitb5_poly10warm",
        ),
    ],
)
def test_names_follow_the_lineages_grammar(config, changes, name):
    assert Row("", config, changes).stem == name


@pytest.mark.parametrize(
    ("changes", "architecture"),
    [
        (
            {
                "model.decode_head.hr_loss_weight": 0,
                "model.decode_head.fixed_attention": 0.5,
                "model.hr_slide_overlapping": False,
            },
            "hrda1-512-0-fixedatt-nooverlap",
        ),
        ({"model.decode_head.attention_classwise": False}, "hrda1-512-01-singleatt"),
        ({"model.blur_hr_crop": True}, "hrda1-512-01-blurhr"),
        (
            {"model.hr_crop_size": (256, 256), "model.scales": [1, 1], "model.feature_scale": 1},
            "hrda1-256-01-samescale",
        ),
        ({"model.scales": [1, 0.75], "model.feature_scale": 0.75}, "hrda1-512-01-sc075"),
    ],
)
def test_options_of_hrda(changes, architecture):
    assert f"_cpl2_{architecture}_daformer_sepaspp_sl_" in Row("", HRDA, changes).stem


@pytest.mark.parametrize("decoder", ["conv1", "aspp", "isa", "sepaspp_bottleneck", "sepaspp"])
def test_decoders_of_daformer(decoder):
    name = Row("", DAFORMER, network(f"daformer_{decoder}_mitb5")).stem
    assert name == f"gta2cs_{LR}_daformer_{decoder}_mitb5_poly10warm"


@pytest.mark.parametrize("network_file", ["dlv2_r101v1c", "dlv2red_r50v1c", "segformer_mitb3"])
def test_other_networks_have_the_name_of_their_file(network_file):
    assert Row("", DAFORMER, network(network_file)).stem == f"gta2cs_{LR}_{network_file}_poly10warm"


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
    assert f"_m64-07-{tag}_" in Row("", MIC, {f"{MASK}.mode": mode}).stem


def test_a_name_that_is_written_in_the_row_stays():
    assert Row("", "nowhere", name="mine").stem == "mine"
