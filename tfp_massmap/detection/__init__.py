"""Clusters in posterior samples: injection, detection, and the test of its probability.

Injection and detection follow Remy et al. (2022), section 7.3. `peak_probabilities`
makes a catalogue of structures with posterior probabilities, and `reliability` tests
such probabilities.
"""

from tfp_massmap.detection.aperture import aperture_mass
from tfp_massmap.detection.aperture import background_std
from tfp_massmap.detection.aperture import input_snr
from tfp_massmap.detection.criterion import binomial_interval
from tfp_massmap.detection.criterion import highest_coefficient
from tfp_massmap.detection.injection import inject_cluster
from tfp_massmap.detection.matching import NULLS
from tfp_massmap.detection.matching import Matches
from tfp_massmap.detection.matching import match_positions
from tfp_massmap.detection.mixture import ClusterMixture
from tfp_massmap.detection.reliability_diagram import Reliability
from tfp_massmap.detection.reliability_diagram import reliability
from tfp_massmap.detection.reliability_diagram import reliability_table
from tfp_massmap.detection.structures import PeakSettings
from tfp_massmap.detection.structures import covered
from tfp_massmap.detection.structures import peak_probabilities

__all__ = [
  "NULLS",
  "ClusterMixture",
  "Matches",
  "PeakSettings",
  "Reliability",
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
