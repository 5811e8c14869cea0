"""Procedures that run a posterior to samples."""

from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import batches
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import ode
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import refine
from tfp_massmap.samplers import split_gibbs
from tfp_massmap.samplers import white_part
from tfp_massmap.samplers.sample_set import SampleSet

__all__ = [
    "SampleSet",
    "annealed",
    "batches",
    "guided",
    "ode",
    "probability_flow",
    "refine",
    "split_gibbs",
    "white_part",
]
