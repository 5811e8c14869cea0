"""Predictions for any n(z) and cosmology: distances, matter power, convergence power."""

from tfp_massmap.theory.convergence import convergence_power
from tfp_massmap.theory.convergence import lensing_kernel
from tfp_massmap.theory.convergence import mean_lens_distance
from tfp_massmap.theory.cosmology import KAPPATNG
from tfp_massmap.theory.cosmology import Cosmology
from tfp_massmap.theory.cosmology_prior import CosmologyDistribution
from tfp_massmap.theory.cosmology_prior import CosmologyPrior
from tfp_massmap.theory.haloes import HaloStatistics
from tfp_massmap.theory.haloes import kappatng_haloes
from tfp_massmap.theory.kappatng import boost as kappatng_boost
from tfp_massmap.theory.matter_power import LinearPower
from tfp_massmap.theory.matter_power import MatterPower
from tfp_massmap.theory.matter_power import ranges as cosmology_ranges
from tfp_massmap.theory.source_redshifts import SURVEYS as SURVEY_REDSHIFTS
from tfp_massmap.theory.source_redshifts import SourceRedshifts

__all__ = [
  "KAPPATNG",
  "SURVEY_REDSHIFTS",
  "Cosmology",
  "CosmologyDistribution",
  "CosmologyPrior",
  "HaloStatistics",
  "LinearPower",
  "MatterPower",
  "SourceRedshifts",
  "convergence_power",
  "cosmology_ranges",
  "kappatng_boost",
  "kappatng_haloes",
  "lensing_kernel",
  "mean_lens_distance",
]
