"""Procedures that run a posterior to samples."""

from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import ode
from tfp_massmap.samplers import probability_flow

__all__ = ["annealed", "ode", "probability_flow"]
