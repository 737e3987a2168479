"""Registry of the self-training host's components."""

from mmengine.registry import Registry

COMPONENTS = Registry("self-training component", scope="mmseg", locations=["mmseg_uda.methods"])
