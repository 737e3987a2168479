"""The index of the papers' tables. ``run_experiments.py --exp ID`` trains one.

A table is data: its rows name a config and what they change in it (docs/configs.md shows how to add
one). Each paper has a file in ``mmseg_uda/experiments/tables``.
"""

from mmseg_uda.experiments.tables.cdda import CDDA_TABLES
from mmseg_uda.experiments.tables.csi import CSI_TABLES
from mmseg_uda.experiments.tables.dynalign import DYNALIGN_TABLES
from mmseg_uda.experiments.tables.srha import SRHA_TABLES
from mmseg_uda.experiments.tables.ssda import SSDA_TABLES

EXPERIMENTS = (
    *CSI_TABLES,  # 90-94: relabelling of classes that the source lacks
    *CDDA_TABLES,  # 300-302: depth distributions
    *SSDA_TABLES,  # 411, 412: dynamic subdomains
    *SRHA_TABLES,  # 500-504: domain generalization
    *DYNALIGN_TABLES,  # 600-605: other taxonomies
)
