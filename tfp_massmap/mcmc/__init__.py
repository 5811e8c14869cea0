"""Transition kernels that need only the score of their target.

They compose with `tfp.mcmc`, and import nothing from the rest of this package.
"""

from tfp_massmap.mcmc.mass_matrix import FourierDiagonalNormal
from tfp_massmap.mcmc.mass_matrix import LinearOperatorNormal
from tfp_massmap.mcmc.mass_matrix import MassMatrix
from tfp_massmap.mcmc.metropolis import ScoreMetropolisHastings
from tfp_massmap.mcmc.metropolis import ScoreMetropolisHastingsResults
from tfp_massmap.mcmc.path_integral import PathEnds
from tfp_massmap.mcmc.path_integral import PathIntegralRule
from tfp_massmap.mcmc.path_integral import gauss_lobatto
from tfp_massmap.mcmc.path_integral import simpson
from tfp_massmap.mcmc.replica_exchange import ScoreReplicaExchangeMC
from tfp_massmap.mcmc.replica_exchange import ScoreReplicaExchangeMCResults
from tfp_massmap.mcmc.score_hmc import ScoreHamiltonianMonteCarlo
from tfp_massmap.mcmc.score_hmc import ScoreUncalibratedHamiltonianMonteCarlo
from tfp_massmap.mcmc.score_hmc import ScoreUncalibratedHamiltonianMonteCarloResults
from tfp_massmap.mcmc.score_langevin import ScoreMetropolisAdjustedLangevinAlgorithm
from tfp_massmap.mcmc.score_langevin import ScoreUncalibratedLangevin
from tfp_massmap.mcmc.score_langevin import ScoreUncalibratedLangevinResults
from tfp_massmap.mcmc.target import ScoreAsLogProb
from tfp_massmap.mcmc.tempering import TemperedMC
from tfp_massmap.mcmc.tempering import TemperedMCResults

__all__ = [
  "FourierDiagonalNormal",
  "LinearOperatorNormal",
  "MassMatrix",
  "PathEnds",
  "PathIntegralRule",
  "ScoreAsLogProb",
  "ScoreHamiltonianMonteCarlo",
  "ScoreMetropolisAdjustedLangevinAlgorithm",
  "ScoreMetropolisHastings",
  "ScoreMetropolisHastingsResults",
  "ScoreReplicaExchangeMC",
  "ScoreReplicaExchangeMCResults",
  "ScoreUncalibratedHamiltonianMonteCarlo",
  "ScoreUncalibratedHamiltonianMonteCarloResults",
  "ScoreUncalibratedLangevin",
  "ScoreUncalibratedLangevinResults",
  "TemperedMC",
  "TemperedMCResults",
  "gauss_lobatto",
  "simpson",
]
