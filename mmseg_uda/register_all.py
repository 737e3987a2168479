"""Imports every room, so that its classes are in mmsegmentation's registries.

Configs name this module in ``custom_imports``.
"""

import mmseg_uda.datasets
import mmseg_uda.engine
import mmseg_uda.evaluation
import mmseg_uda.foundation
import mmseg_uda.methods
import mmseg_uda.models
import mmseg_uda.self_training
import mmseg_uda.visualization  # noqa: F401
