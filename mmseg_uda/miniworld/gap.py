"""How far targets are from sources, and the seeds of the worlds.

On their own, because the miniature weights do not depend on them: they are trained on the web-like
domains, which have no gap.
"""

# Share of their own look in the "real" targets: 0 is a neutral one. Chosen on the development world
# (docs/miniworld.md).
STRENGTH = 0.4
DEVELOPMENT_SEED = 1
REPORTED_SEED = 20261
