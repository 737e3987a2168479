import sys
from pathlib import Path

# The pinned weights are shared with the networks' golden tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
