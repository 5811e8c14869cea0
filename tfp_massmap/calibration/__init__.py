"""Tests of posterior samples against simulated truths, for any sampler.

`measure` reduces a truth and its samples to a small `Record`, and `run` makes one for
each of many truths, and resumes. `Mocks` and the samplers make what `run` needs.
Records are reduced to figures of merit with errors (`statistics`, `band_powers`), to
tables (`table`, `compare`, `write_tables`) and to figures (`calibration.figures`).
`save_run` and `load_run` keep the records of a finished run in one file.

`ranks` explains what makes the tests exact, and `statistics` where to add another one.
"""

from tfp_massmap.calibration.band_powers import band_power
from tfp_massmap.calibration.band_powers import chi_square
from tfp_massmap.calibration.band_powers import population_power
from tfp_massmap.calibration.chains import ChainDiagnostics
from tfp_massmap.calibration.chains import diagnose
from tfp_massmap.calibration.estimates import Estimate
from tfp_massmap.calibration.mocks import Mocks
from tfp_massmap.calibration.mocks import exact_sampler
from tfp_massmap.calibration.mocks import guided_sampler
from tfp_massmap.calibration.mocks import interval_sampler
from tfp_massmap.calibration.mocks import posterior_sampler
from tfp_massmap.calibration.proof import Proof
from tfp_massmap.calibration.proof import Subject
from tfp_massmap.calibration.proof import sampler_in_words
from tfp_massmap.calibration.ranks import Record
from tfp_massmap.calibration.ranks import Settings
from tfp_massmap.calibration.ranks import map_band_power
from tfp_massmap.calibration.ranks import measure
from tfp_massmap.calibration.report import compare
from tfp_massmap.calibration.report import markdown
from tfp_massmap.calibration.report import table
from tfp_massmap.calibration.report import write_tables
from tfp_massmap.calibration.runs import load_population
from tfp_massmap.calibration.runs import load_run
from tfp_massmap.calibration.runs import population
from tfp_massmap.calibration.runs import run
from tfp_massmap.calibration.runs import samples_of_intervals
from tfp_massmap.calibration.runs import save_run
from tfp_massmap.calibration.statistics import bias
from tfp_massmap.calibration.statistics import coverage
from tfp_massmap.calibration.statistics import names
from tfp_massmap.calibration.statistics import rank_deviation
from tfp_massmap.calibration.statistics import rank_histogram
from tfp_massmap.calibration.statistics import squared_error
from tfp_massmap.calibration.statistics import std_over_error
from tfp_massmap.calibration.statistics import tarp
from tfp_massmap.calibration.stein import SteinTest
from tfp_massmap.calibration.stein import kernel_stein_discrepancy
from tfp_massmap.calibration.stein import stein_test
from tfp_massmap.calibration.survey import calibrate
from tfp_massmap.calibration.survey import densest_window
from tfp_massmap.calibration.survey import shares
from tfp_massmap.calibration.survey import simulated_truths
from tfp_massmap.calibration.verdict import Finding
from tfp_massmap.calibration.verdict import Verdict

__all__ = [
  "ChainDiagnostics",
  "Estimate",
  "Finding",
  "Mocks",
  "Proof",
  "Record",
  "Settings",
  "SteinTest",
  "Subject",
  "Verdict",
  "band_power",
  "bias",
  "calibrate",
  "chi_square",
  "compare",
  "coverage",
  "densest_window",
  "diagnose",
  "exact_sampler",
  "guided_sampler",
  "interval_sampler",
  "kernel_stein_discrepancy",
  "load_population",
  "load_run",
  "map_band_power",
  "markdown",
  "measure",
  "names",
  "population",
  "population_power",
  "posterior_sampler",
  "rank_deviation",
  "rank_histogram",
  "run",
  "sampler_in_words",
  "samples_of_intervals",
  "save_run",
  "shares",
  "simulated_truths",
  "squared_error",
  "std_over_error",
  "stein_test",
  "table",
  "tarp",
  "write_tables",
]
