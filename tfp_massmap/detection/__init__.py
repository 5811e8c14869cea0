"""Clusters in posterior samples: injection, detection, and what its probability means.

Remy et al. (2022), section 7.3, and beyond it a catalogue of structures with posterior
probabilities and the test of those probabilities.
"""

from tfp_massmap.detection.aperture import aperture_mass
from tfp_massmap.detection.aperture import background_std
from tfp_massmap.detection.aperture import input_snr
from tfp_massmap.detection.criterion import binomial_interval
from tfp_massmap.detection.criterion import highest_coefficient
from tfp_massmap.detection.injection import inject_cluster
from tfp_massmap.detection.matching import NULLS
from tfp_massmap.detection.matching import match_positions
from tfp_massmap.detection.mixture import ClusterMixture
from tfp_massmap.detection.reliability_diagram import reliability
from tfp_massmap.detection.reliability_diagram import reliability_table
from tfp_massmap.detection.structures import covered
from tfp_massmap.detection.structures import peak_probabilities

__all__ = [
  "ClusterMixture",
  "NULLS",
  "aperture_mass",
  "background_std",
  "binomial_interval",
  "covered",
  "highest_coefficient",
  "inject_cluster",
  "input_snr",
  "match_positions",
  "peak_probabilities",
  "reliability",
  "reliability_table",
]
