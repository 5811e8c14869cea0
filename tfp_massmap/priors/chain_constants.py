"""Constants of chains, measured with chains whose target is known exactly.

A chain that starts at a draw of its target stays there, if its score is right. Such
draws need no sampler: for a map kappa of the prior's kind, noise of standard deviation N
and sigma below it,

  v = kappa + sigma z,    y = v + (N^2 - sigma^2)^1/2 n  in the measured pixels,

v is a draw of p(v | y), which is proportional to p_sigma(v) N(y; v, N^2 - sigma^2).
Chains with the score of `HybridPrior.chain_score` start at v. Power that they gain is
drift along errors of the score, power that they lose is taken by the weights that keep
them from drifting. A square in the middle of the map has no data: there only the prior
holds a chain.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import itertools
import logging
import typing

import numpy as np
from scipy import stats
import tensorflow as tf
import tqdm.auto

from tfp_massmap import mcmc
from tfp_massmap.priors import interface

if typing.TYPE_CHECKING:
  from tfp_massmap.priors import hybrid

_LOG = logging.getLogger(__name__)

# Noise of a pixel over the standard deviation of the convergence: 4.5 to 6.9 for six
# surveys from space and from the ground.
_NOISE = 5.5
_GAP = 0.58  # Side of the square without data over the map's: a third of the area.

# Shares of the noise that `last_sigma` may be, from the largest, beyond which the
# likelihood of a smoothed map is not exact enough (`posterior.Posterior`); and candidates
# of `residual_error`, of which the right one depends on the network alone.
SHARES = (0.4, 0.25, 0.15, 0.1)
RESIDUAL_ERRORS = (0.001, 0.003, 0.01)
# With the smoothing of factors, variances are too small by 2 share^2: 12 % at 0.25.
_LARGEST_OF_FACTORS = 0.25

# Chains of the shipped prior that diverge do so within 20 trajectories.
_NUM_STEPS = 20
# Change of a band's power, beyond two standard errors, that is drift.
_TOLERANCE = 0.05
_LARGEST = 0.25  # A change that is drift, whatever its error.
_NUM_BANDS = 5
_HIGH_QUANTILE = 0.999  # Of pixels, to see haloes that grow or fade.

# Trajectories of a quarter of a turn, and the acceptance at which half the time is not
# spent on rejected proposals: as `samplers.annealed`.
_HALF_TRAJECTORY = 0.78
_REFERENCE_PIXELS = 360**2
_FIRST_STEP = interface.SamplerConstants().step_size
_ACCEPTANCE = 0.75

# Twelve runs with 100,000 pixels take about 20 minutes of one core.
_MOST_MAPS, _MOST_PIXELS = 16, 6 * 128**2


class Outcome(typing.NamedTuple):
  """Changes of chains that started at exact draws.

  Attributes:
    change: Change of the power in bands of multipoles, and of the high quantile of the
      pixels, over the power or quantile at the start, `[n]`.
    error: Standard errors of `change` over the maps.
    acceptance: Mean probability of acceptance.
  """

  change: np.ndarray
  error: np.ndarray
  acceptance: float

  @property
  def size(self) -> float:
    """Root mean square of the changes; infinite if chains are not finite any more."""
    squares = np.mean(np.square(self.change))
    return float(np.sqrt(squares)) if np.isfinite(squares) else np.inf

  @property
  def stays(self) -> bool:
    """True if all changes are within the tolerance and two standard errors.

    A large change is none of chance: where some chains diverge, so do the errors.
    """
    size = np.abs(self.change)
    within = size <= np.minimum(_TOLERANCE + 2 * self.error, _LARGEST)
    return bool(within.all())


def measure(
  prior: "hybrid.HybridPrior",
  maps: Sequence[np.ndarray],
  *,
  seed: int = 0,
  progress: bool = False,
) -> interface.SamplerConstants:
  """Returns the prior's constants with those of chains measured.

  `last_sigma` is the smallest share of the noise at which chains stay with one of the
  candidates of `residual_error`, and the candidate is the one whose chains change the
  least there. The step is the one with which three in four proposals are accepted.

  Args:
    prior: `priors.HybridPrior`.
    maps: `[n, ny, nx]` of the prior's kind and shape, two or more, if possible none of
      its training.
    seed: Integer.
    progress: Whether to show a progress bar on standard error.

  Returns:
    `prior.constants` with `residual_error`, `last_sigma`, `last_sigma_of_factors` and
    `step_size` replaced. If chains do not stay at the largest share either, a warning
    says so, and it is taken.

  Raises:
    ValueError: If there are fewer than two maps.
  """
  tried = dict(outcomes(prior, maps, seed=seed, progress=progress))
  return conclude(prior, tried)


def conclude(
  prior: "hybrid.HybridPrior", tried: Mapping[tuple[float, float], Outcome]
) -> interface.SamplerConstants:
  """Returns the constants that follow from outcomes, as `measure` does.

  Args:
    prior: `priors.HybridPrior`.
    tried: Outcomes by share of the noise and residual error, from `outcomes`.
  """
  share, error = _choose(tried)
  best = tried[share, error]
  if not best.stays:
    _LOG.warning(
      "Chains of the prior do not stay on their target at %.2g of the noise: powers or"
      " high pixels change by up to %.2g of themselves. Samples of 'annealed' will be"
      " wrong; take 'guided'.",
      share,
      np.abs(best.change).max(),
    )
  scale = _scale(prior.shape)
  step_size = _accepted_step(_FIRST_STEP * scale, best.acceptance) / scale
  return dataclasses.replace(
    prior.constants,
    residual_error=error,
    last_sigma=share,
    last_sigma_of_factors=min(share, _LARGEST_OF_FACTORS),
    step_size=round(float(step_size), 4),
  )


def outcomes(
  prior: "hybrid.HybridPrior",
  maps: Sequence[np.ndarray],
  *,
  seed: int = 0,
  progress: bool = False,
) -> Iterator[tuple[tuple[float, float], Outcome]]:
  """Yields ((share of the noise, residual error), outcome) from the largest share.

  It ends after a share at which chains stay with no candidate.

  Args:
    prior, maps, seed, progress: As `measure`.

  Raises:
    ValueError: If there are fewer than two maps.
  """
  fields = np.asarray(maps, np.float32)
  fields = fields[: min(_MOST_MAPS, max(2, _MOST_PIXELS // np.size(fields[0])))]
  if len(fields) < 2:
    raise ValueError(f"Chains need two or more maps; got {len(fields)}.")
  run = _make_run(prior, fields, _FIRST_STEP * _scale(prior.shape), seed)
  num_runs = len(SHARES) * len(RESIDUAL_ERRORS)
  with tqdm.auto.tqdm(total=num_runs, unit="run", disable=not progress) as bar:
    for share in SHARES:
      one_stays = False
      for error in RESIDUAL_ERRORS:
        bar.set_postfix(share=f"{share:g}", residual_error=f"{error:g}")
        outcome = run(share, error)
        one_stays |= outcome.stays
        bar.update()
        yield (share, error), outcome
      if not one_stays:
        return


def _scale(shape):
  """The step at constant acceptance, over that of the reference map."""
  return (_REFERENCE_PIXELS / np.prod(shape)) ** 0.25


def _choose(outcomes):
  """The smallest share at which chains stay, the largest if they do at none."""
  staying = {pair: o for pair, o in outcomes.items() if o.stays}
  if staying:
    smallest = min(share for share, _ in staying)
    candidates = {pair: o for pair, o in staying.items() if pair[0] == smallest}
  else:
    candidates = {pair: o for pair, o in outcomes.items() if pair[0] == SHARES[0]}
  return min(candidates, key=lambda pair: candidates[pair].size)


def _accepted_step(step_size, acceptance):
  """The step with the wanted acceptance, as the energy error grows with its square.

  An energy error of standard deviation s is accepted with probability 2 Phi(-s / 2).
  """
  found, wanted = (
    -stats.norm.ppf(np.clip(value, 0.01, 0.99) / 2)
    for value in (acceptance, _ACCEPTANCE)
  )
  return step_size * np.sqrt(wanted / found)


def _make_run(prior, maps, step_size, seed) -> Callable[[float, float], Outcome]:
  """A function of the share of the noise and the residual error, compiled once."""
  noise_std = _NOISE * np.float32(np.std(maps))
  has_data = np.ones(prior.shape, np.float32)
  margins = [round(side * (1 - _GAP) / 2) for side in prior.shape]
  has_data[tuple(slice(m, side - m) for m, side in zip(margins, prior.shape))] = 0
  rng = np.random.default_rng(seed)
  white, noise = rng.standard_normal([2, *maps.shape]).astype(np.float32)
  walk = _make_walk(prior, tf.constant(has_data), step_size)

  def run(share, error):
    sigma = np.float32(share * noise_std)
    rest = np.float32(np.sqrt(noise_std**2 - sigma**2))
    start = maps + sigma * white
    powers, acceptance = walk(
      tf.constant(start),
      data=tf.constant(start + rest * noise),
      sigma=tf.constant(sigma),
      rest=tf.constant(rest),
      residual_error=tf.constant(error, tf.float32),
      seed=tf.constant([seed, 0]),
    )
    before, after = powers.numpy()
    change = after.mean(axis=0) / before.mean(axis=0) - 1
    scatter = np.std(after - (1 + change) * before, axis=0, ddof=1)
    error = scatter / before.mean(axis=0) / np.sqrt(len(maps))
    return Outcome(change, error, float(acceptance))

  return run


def _make_walk(prior, has_data, step_size):
  """A function from starts to the statistics of both ends, and the acceptance."""
  num_leapfrog_steps = 2 * max(1, round(_HALF_TRAJECTORY / step_size))

  @tf.function(autograph=False)
  def walk(start, *, data, sigma, rest, residual_error, seed):
    weight = has_data / tf.square(rest)
    variance = prior.gaussian.smoothed_variance(sigma)

    def score(v):
      added = weight * (data - v)
      return prior.chain_score(v, sigma, residual_error=residual_error) + added

    def analytic_log_prob(v):
      misfit = tf.reduce_sum(weight * tf.square(data - v), axis=(-2, -1))
      return prior.gaussian.log_prob(v, sigma) - 0.5 * misfit

    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      score,
      step_size=tf.constant(step_size, start.dtype),
      num_leapfrog_steps=num_leapfrog_steps,
      event_ndims=2,
      path_integral="trajectory",
      momentum_distribution=mcmc.FourierDiagonalNormal(
        1 / variance + tf.reduce_mean(weight), prior.shape
      ),
      analytic_log_prob_fn=analytic_log_prob,
    )
    seeds = tf.random.split(seed, _NUM_STEPS)

    def step(index, state, results, accepted, after):
      state, results = kernel.one_step(state, results, seed=seeds[index])
      accepted += tf.reduce_mean(tf.exp(tf.minimum(results.log_accept_ratio, 0)))
      is_late = tf.cast(index >= _NUM_STEPS // 2, state.dtype)
      return index + 1, state, results, accepted, after + is_late * statistics(state)

    def statistics(v):
      return _statistics(v, prior.gaussian.mode_variance / variance)

    before = statistics(start)
    zero = tf.zeros([], start.dtype)
    results = kernel.bootstrap_results(start)
    _, _, _, accepted, after = tf.while_loop(
      lambda index, *_: index < _NUM_STEPS,
      step,
      (0, start, results, zero, tf.zeros_like(before)),
    )
    num_late = _NUM_STEPS - _NUM_STEPS // 2
    return tf.stack([before, after / num_late]), accepted / _NUM_STEPS

  return walk


def _statistics(v, wiener):
  """Power in bands and the high quantile of Wiener-filtered maps, `[n, bands + 1]`."""
  modes = tf.signal.rfft2d(v) * tf.cast(wiener, tf.complex64)
  filtered = tf.signal.irfft2d(modes, fft_length=v.shape[-2:])
  power = tf.square(tf.abs(modes))
  weights = tf.constant(_bands(v.shape[-2:]), v.dtype)
  bands = tf.einsum("nyx,byx->nb", power, weights)
  flat = tf.sort(tf.reshape(filtered, [tf.shape(v)[0], -1]))
  first = int(_HIGH_QUANTILE * flat.shape[-1])
  high = tf.reduce_mean(flat[:, first:], axis=-1, keepdims=True)
  return tf.concat([bands, high], axis=-1)


def _bands(shape):
  """Ones where a mode is in a band, bands of equal ratio, `[bands, ny, nx // 2 + 1]`."""
  ny, nx = shape
  k = np.hypot(np.fft.fftfreq(ny)[:, np.newaxis], np.fft.rfftfreq(nx))
  edges = np.geomspace(k[k > 0].min() * 0.999, 0.5, _NUM_BANDS + 1)
  return np.stack([(k >= low) & (k < high) for low, high in itertools.pairwise(edges)])
