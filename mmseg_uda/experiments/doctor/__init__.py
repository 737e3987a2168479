"""Checks of the installation, weights and data sets, each finding with its fix."""
