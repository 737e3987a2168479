"""What the default recipe says about any run."""

from mmengine.config import Config

from mmseg_uda.config_files import runtime_config


def runtime():
    """Hooks, environment and logs: a config to which model and data are added."""
    return Config(runtime_config())
