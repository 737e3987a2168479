"""Package metadata; ``pip install -e .[test] -c constraints.txt`` installs the tested set."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+?)"', (HERE / "mmseg_uda" / "__init__.py").read_text(encoding="utf-8")
)[1]
README = HERE / "README.md"

REQUIREMENTS = [
    "torch>=2.4",  # scaled dot-product attention, weights_only loading, foreach kernels
    "torchvision>=0.19",  # the release that belongs to torch 2.4
    # OpenMMLab's libraries as maintained builds: same import names, numpy 2 and Python 3.12, and
    # an installation that compiles nothing.
    "onedl-mmcv>=2.3",
    "onedl-mmengine>=0.10.12",
    "onedl-mmsegmentation>=1.4",
    "transformers>=4.46",  # OWL-ViT, OWLv2 and CLIP; the first release on numpy 2 and torch 2.5
    "timm>=1.0.20",  # DINOv2, DINOv3 and EVA-02; the first release with DINOv3
    "open_clip_torch>=2.30",  # the miniworld's CLIP and CLIP weights of other origin
    "safetensors>=0.4",  # weights files
    "huggingface_hub>=0.26",  # fetches weights by name
    "numpy>=2.0.1",  # what onedl-mmsegmentation wants; the next three are the first on numpy 2
    "opencv-python>=4.10",  # 16-bit SYNTHIA labels, resizing as the published pipelines do
    "matplotlib>=3.9",  # the font of debug pictures
    "scipy>=1.13",  # imported by mmsegmentation's transforms
    "pillow>=10",  # palette PNGs
    "rich>=13.7",  # progress bars and live tables
    "pyyaml>=6",  # taxonomies
    "jinja2>=3.1",  # the report as a page
    "ftfy>=6.1",  # imported by mmsegmentation and open_clip's tokenizer
    "regex>=2023.12",  # the same
]

# What a package takes along of a checkout, as mmsegmentation's does: scripts at its top, and files.
SCRIPTS = ("run_experiments", "experiments", "run_seg", "dynalign_mapillary")
PACKED = (
    *("model-index.yml", "configs/**/*.py", "configs/**/*.yml", "tools/**/*.py"),
    *("README.md", "docs/*.md", "pretrained/*.md", "mmseg_uda/**/*.md"),
)

# Experiment trackers, switched on with --log.
TRACKERS = {
    "tensorboard": ["tensorboard>=2.14"],
    "wandb": ["wandb>=0.16"],
    "mlflow": ["mlflow>=2.11"],  # the first whose client logs images by step
}

# run_experiments.py --executor slurm.
SLURM = ["submitit>=1.5"]  # the line of releases that the tests run with

# The documentation as a site (mkdocs.yml) and its notebook.
DOCS = [
    "mkdocs>=1.6,<2",  # 2 drops plugins
    "mkdocs-material>=9.5",
    "mkdocs-jupyter>=0.26",  # brings what runs a notebook: ipykernel, nbclient, nbformat
    "mkdocstrings[python]>=0.27",  # pages from docstrings
]

# Region proposers of DynAlign that transformers does not bring.
SAM = ["segment-anything>=1.0"]  # the published .pth files
SUPERPIXELS = ["scikit-image>=0.24"]  # SLIC and Felzenszwalb; the first on numpy 2


class BuildWithScripts(build_py):
    """Copies configs, scripts and pages into the package, to ``.mim``: a wheel has no checkout."""

    def run(self):
        """Builds, then copies; an editable installation uses the checkout's own."""
        super().run()
        if self.editable_mode:
            return
        copied = [path for pattern in PACKED for path in HERE.glob(pattern)]
        copied += [HERE / f"{name}.py" for name in SCRIPTS]
        for path in copied:
            target = Path(self.build_lib, "mmseg_uda", ".mim", path.relative_to(HERE))
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(path), str(target))


setup(
    name="mmseg_uda",
    version=VERSION,
    description="Semantic segmentation across domains, as a plug-in for mmsegmentation 1.x",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithScripts},
    entry_points={"console_scripts": ["mmseg-uda = mmseg_uda.commands:main"]},
    packages=find_packages(include=["mmseg_uda", "mmseg_uda.*"]),
    package_data={
        "mmseg_uda": [
            "py.typed",
            "**/*.yaml",
            "**/templates/*",
            "**/README.md",  # cards: citations for published models
            "costs.json",
            "miniworld/shipped/*.zip",
        ]
    },
    install_requires=REQUIREMENTS,
    extras_require={
        **TRACKERS,
        "docs": DOCS,
        "slurm": SLURM,
        "sam": SAM,
        "superpixels": SUPERPIXELS,
        "test": [
            "pytest>=8",
            "pytest-random-order>=1.1",  # make test-shuffled
            "pytest-xdist>=3.8",  # two test processes on two cores, files in any order
            "setuptools>=65",  # a wheel is built and installed; Python 3.12 brings none
            "wheel>=0.42",
            *TRACKERS["tensorboard"],
            *DOCS,
            *SLURM,
            *SAM,
            *SUPERPIXELS,
            "pycocotools>=2.0.8",  # what our run-length codec is compared with
            "ruff>=0.9",
            "mypy>=1.13",
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
