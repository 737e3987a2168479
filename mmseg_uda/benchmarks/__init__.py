"""What ``tools/benchmark.py`` runs: steps of configs, and each method's operations."""
