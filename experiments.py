"""The index of the papers' tables. ``run_experiments.py --exp ID`` trains one.

A table is data: its rows name a config and what they change in it (docs/configs.md shows how to add
one). Each paper has a file in ``mmseg_uda/experiments/tables``.
"""

from mmseg_uda.experiments.tables.camvid import CAMVID_TABLES
from mmseg_uda.experiments.tables.cdda import CDDA_TABLES
from mmseg_uda.experiments.tables.csi import CSI_TABLES
from mmseg_uda.experiments.tables.daformer import DAFORMER_TABLES
from mmseg_uda.experiments.tables.dynalign import DYNALIGN_TABLES
from mmseg_uda.experiments.tables.hrda import HRDA_TABLES
from mmseg_uda.experiments.tables.mic import MIC_TABLES
from mmseg_uda.experiments.tables.srha import SRHA_TABLES
from mmseg_uda.experiments.tables.ssda import SSDA_TABLES
from mmseg_uda.experiments.tables.vfm import VFM_TABLES
from mmseg_uda.experiments.tables.vfm_generalization import VFM_GENERALIZATION_TABLES

EXPERIMENTS = (
    *DAFORMER_TABLES,  # 1-8, 100, 101: networks and training strategies
    *HRDA_TABLES,  # 40-50: context and detail
    *MIC_TABLES,  # 80-85: masked image consistency
    *CSI_TABLES,  # 90-94: relabelling of classes that the source lacks
    *CDDA_TABLES,  # 300-302: depth distributions
    *SSDA_TABLES,  # 411, 412: dynamic subdomains
    *SRHA_TABLES,  # 500-504: domain generalization
    *DYNALIGN_TABLES,  # 600-605: other taxonomies
    *VFM_TABLES,  # 700-706, 713: foundation-model backbones
    *VFM_GENERALIZATION_TABLES,  # 710-712: domain generalization with adapters of them
    *CAMVID_TABLES,  # 800, 801: rendered streets to photographs
)
