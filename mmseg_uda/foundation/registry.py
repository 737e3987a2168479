"""Registries of the adapters for frozen foundation models.

Their scope is mmsegmentation's, because configs set ``default_scope = 'mmseg'``.
"""

from mmengine.registry import Registry

DETECTORS = Registry("detector", scope="mmseg", locations=["mmseg_uda.foundation"])
CROP_CLASSIFIERS = Registry("crop_classifier", scope="mmseg", locations=["mmseg_uda.foundation"])
MASK_PROPOSERS = Registry("mask_proposer", scope="mmseg", locations=["mmseg_uda.foundation"])
