"""Semantic segmentation across domains, as a plug-in for mmsegmentation 1.x.

Importing this package stays light: neither torch nor mmengine is loaded, so that listing
experiments takes no time. ``mmseg_uda.register_all`` registers every class.
"""

import warnings

__version__ = "0.1.0"

# Advice that is nobody's fault here: to install mmcv's compiled operators, which nothing uses, to
# give two classes one channel, where pseudo-labels and class weights need a channel each, and, in
# notebooks, to install widgets for tqdm's progress bars.
for _advice in (
    "Fail to import ``MultiScaleDeformableAttention``",
    "For binary segmentation, we suggest using",
    "IProgress not found",
):
    warnings.filterwarnings("ignore", message=_advice)
