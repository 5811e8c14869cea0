"""Trained priors that ship with the package: cards and weights, by name."""
