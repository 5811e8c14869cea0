"""Transition kernels that need only the score of their target.

They know nothing of lensing, and compose with `tfp.mcmc`.
"""

from tfp_massmap.mcmc.momentum import FourierDiagonalNormal
from tfp_massmap.mcmc.score_hmc import ScoreHamiltonianMonteCarlo
from tfp_massmap.mcmc.score_hmc import ScoreHMCResults
from tfp_massmap.mcmc.score_hmc import ScoreUncalibratedHamiltonianMonteCarlo
from tfp_massmap.mcmc.score_hmc import UncalibratedScoreHMCResults
from tfp_massmap.mcmc.tempering import TemperedMC
from tfp_massmap.mcmc.tempering import TemperedMCResults

__all__ = [
    "FourierDiagonalNormal",
    "ScoreHMCResults",
    "ScoreHamiltonianMonteCarlo",
    "ScoreUncalibratedHamiltonianMonteCarlo",
    "TemperedMC",
    "TemperedMCResults",
    "UncalibratedScoreHMCResults",
]
