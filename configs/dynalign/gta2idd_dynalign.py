# DynAlign (Sun et al., ICLR 2025, arXiv 2501.16410), direct inference.
# HRDA's 19 classes (GTA → Cityscapes) → the 26 of IDD at level 3. Published numbers: not available.
_base_ = ["../_base_/recipes/alignment.py"]
alignment = dict(taxonomy="idd_v5")
data = dict(evaluate=dict(type="IDD", split="val"))
