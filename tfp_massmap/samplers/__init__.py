"""Procedures that run a posterior to samples."""

from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import ode

__all__ = ["annealed", "ode"]
