"""Semantic segmentation across domains, as a plug-in for mmsegmentation 1.x.

Importing this package stays light: neither torch nor mmengine is loaded, so that listing
experiments takes no time. ``mmseg_uda.register_all`` registers every class.
"""

__version__ = "0.1.0"
