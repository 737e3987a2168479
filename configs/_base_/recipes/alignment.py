# DynAlign (Sun et al., ICLR 2025, arXiv 2501.16410): the classes of a source model aligned to those
# of another taxonomy. Nothing is trained.
custom_imports = dict(imports=["mmseg_uda.register_all"], allow_failed_imports=False)
default_scope = "mmseg"
alignment = dict(
    preset="recommended",
    options=dict(threshold=0.6),  # of the published script
    proposer=dict(type="SamProposer"),
    scorer=dict(type="OpenClip", checkpoint="convnext_large_d_320", input_size=224),
)
source = dict(
    config="configs/hrda/gtaHR2csHR_hrda.py",
    checkpoint="pretrained/hrda_gtaHR2csHR.pth",
)
