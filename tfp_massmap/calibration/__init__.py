"""Tests of posterior samples against simulated truths, for any sampler.

`measure` makes a small `Record` of a truth and its samples, `run` one for each of many
truths, resumably; `coverage`, `rank_histogram`, `rank_deviation`, `std_over_error`,
`bias`, `tarp`, `band_power`, `population_power` and `chi_square` reduce records to an
`Estimate`, `table` does all, and `figures` draws them. `Mocks` and the samplers make what
`run` needs, `population` what `population_power` does.
`record` says what makes the tests exact.
"""

from tfp_massmap.calibration.chains import ChainDiagnostics
from tfp_massmap.calibration.chains import diagnose
from tfp_massmap.calibration.mocks import Mocks
from tfp_massmap.calibration.mocks import exact_sampler
from tfp_massmap.calibration.mocks import guided_sampler
from tfp_massmap.calibration.mocks import interval_sampler
from tfp_massmap.calibration.mocks import posterior_sampler
from tfp_massmap.calibration.ranks import Record
from tfp_massmap.calibration.ranks import Settings
from tfp_massmap.calibration.ranks import map_band_power
from tfp_massmap.calibration.ranks import measure
from tfp_massmap.calibration.report import compare
from tfp_massmap.calibration.report import markdown
from tfp_massmap.calibration.report import table
from tfp_massmap.calibration.report import write_tables
from tfp_massmap.calibration.runs import population
from tfp_massmap.calibration.runs import run
from tfp_massmap.calibration.runs import samples_of_intervals
from tfp_massmap.calibration.statistics import Estimate
from tfp_massmap.calibration.statistics import band_power
from tfp_massmap.calibration.statistics import bias
from tfp_massmap.calibration.statistics import chi_square
from tfp_massmap.calibration.statistics import coverage
from tfp_massmap.calibration.statistics import names
from tfp_massmap.calibration.statistics import population_power
from tfp_massmap.calibration.statistics import rank_deviation
from tfp_massmap.calibration.statistics import rank_histogram
from tfp_massmap.calibration.statistics import std_over_error
from tfp_massmap.calibration.statistics import tarp
