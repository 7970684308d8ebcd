"""Detectors and embedders: what they are, where their weights come from, how they are run."""
