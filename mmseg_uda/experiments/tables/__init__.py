"""The papers' tables as data, one file per paper; ``experiments.py`` at the top is their index."""
