# DynAlign (Sun et al., ICLR 2025, arXiv 2501.16410), direct inference.
# HRDA's 19 classes (GTA → Cityscapes) → the 66 of Mapillary Vistas v1.2. Published numbers: not
# available.
custom_imports = dict(imports=["mmseg_uda.register_all"], allow_failed_imports=False)
default_scope = "mmseg"
alignment = dict(
    taxonomy="mapillary_v5",
    preset="recommended",
    options=dict(threshold=0.6),
    proposer=dict(type="SamProposer"),
    scorer=dict(type="OpenClip", checkpoint="convnext_large_d_320", input_size=224),
)
source = dict(
    config="configs/hrda/gtaHR2csHR_hrda.py",
    checkpoint="pretrained/hrda_gtaHR2csHR.pth",
)
data = dict(evaluate=dict(type="Mapillary", split="val"))
