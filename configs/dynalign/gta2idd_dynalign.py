# DynAlign (Sun et al., ICLR 2025, arXiv 2501.16410), direct inference.
# HRDA's 19 classes (GTA → Cityscapes) → the 26 of IDD at level 3. Published numbers: not available.
_base_ = ["./gta2mapillary_dynalign.py"]
alignment = dict(taxonomy="idd_v5")
data = dict(_delete_=True, evaluate=dict(type="IDD", split="val"))
