"""From a shear map to products: samples, mean and standard deviation, FITS, figure."""

import dataclasses
import os

import numpy as np

from tfp_massmap import baselines
from tfp_massmap import io
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import plot
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import summary as summary_lib


@dataclasses.dataclass(frozen=True)
class Sampler:
  """How to sample the posterior.

  Attributes:
    method: Name of the sampler, see `samplers.sample`.
    settings: Settings of the method; None for its defaults.
    batch_size: Samples drawn together; bounds the memory. The samples depend on it.
    jit_compile: Whether to compile with XLA; None is the choice of `devices`.
  """

  method: str = "guided"
  settings: (
    samplers.GuidedSettings
    | samplers.GuidedHmcSettings
    | samplers.AnnealedSettings
    | None
  ) = None
  _: dataclasses.KW_ONLY
  batch_size: int = 8
  jit_compile: bool | None = None


@dataclasses.dataclass(frozen=True)
class Products:
  """What to make of the samples, and where they go.

  Attributes:
    samples_path: None, or the name of a FITS cube for the samples, in which an
      interrupted run is resumed.
    overwrite: Whether the samples of another run may be replaced there.
    quantiles: Levels in (0, 1) of quantile maps.
    thresholds: Convergences whose probability to be exceeded is mapped.
    header: Further entries for the headers of the products, strings and numbers by name.
  """

  samples_path: str | os.PathLike | None = None
  overwrite: bool = False
  _: dataclasses.KW_ONLY
  quantiles: tuple[float, ...] = ()
  thresholds: tuple[float, ...] = ()
  header: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Sources:
  """Redshifts of the galaxies, which are compared with those a prior was trained for.

  Attributes:
    redshifts: `[num_galaxies]`.
    counts: Weight of each galaxy; None counts each once.
  """

  redshifts: np.ndarray
  counts: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstruction:
  """Posterior samples of the convergence of a field, and point estimates beside.

  Attributes:
    shear_map: the data, `shear_map.ShearMap`.
    sample_set: `samplers.SampleSet`.
    summary: `summary.Summary`: mean, standard deviation, quantiles, probabilities.
    kaiser_squires, wiener: `baselines.MassMap`.
    truth: `[ny, nx]` of a mock, or None.
    settings: seed, prior, sampler, data: a flat dict.
  """

  shear_map: shear_map_lib.ShearMap
  sample_set: samplers.SampleSet
  _: dataclasses.KW_ONLY
  summary: summary_lib.Summary
  kaiser_squires: baselines.MassMap
  wiener: baselines.MassMap
  truth: np.ndarray | None
  settings: dict

  def save(self, path, overwrite=False):
    """Writes one FITS file with WCS, units and provenance; maps as float32.

    The primary image is the mean; extensions STD, QUANTILE_q and PROBABILITY_t (that
    kappa exceeds t) for those asked for, SAMPLES (a cube, unless the samples have a file
    of their own), WIENER, KAISER_SQUIRES, MASK, COUNT, and TRUTH for a mock.
    """
    io.write_fits(path, self._hdus(), overwrite=overwrite)

  def save_products(self, fits_path, figure_path, *, overwrite=False, **figure_options):
    """`save` and `save_figure`, both or neither."""
    with io.atomic_path(figure_path, overwrite) as temporary:
      self._draw(temporary, **figure_options)
      self.save(fits_path, overwrite)

  def _hdus(self):
    grid = self.shear_map.grid

    def image(values, name, description="convergence"):
      return io.image_hdu(
        np.asarray(values, np.float32), grid, name=name, description=description
      )

    hdus = [
      io.primary_hdu(
        np.asarray(self.summary.mean, np.float32),
        grid,
        description="posterior mean of kappa",
        settings=self.settings,
      ),
      image(self.summary.std, "STD", "posterior std of kappa"),
    ]
    for level, values in self.summary.quantiles.items():
      hdus.append(image(values, f"QUANTILE_{level:g}", f"quantile {level:g} of kappa"))
    for threshold, values in self.summary.probabilities.items():
      hdus.append(
        image(values, f"PROBABILITY_{threshold:g}", f"share with kappa > {threshold:g}")
      )
    if self.sample_set.path is None:
      hdus.append(image(self.sample_set.samples, "SAMPLES"))
    hdus += [
      image(self.wiener.kappa, "WIENER"),
      image(self.kaiser_squires.kappa, "KAISER_SQUIRES"),
      io.image_hdu(self.shear_map.mask, grid, name="MASK", description="1 = measured"),
    ]
    if self.shear_map.count is not None:
      count = np.asarray(self.shear_map.count, np.int32)
      hdus.append(
        io.image_hdu(
          count, grid, name="COUNT", description="galaxies per pixel", unit="count"
        )
      )
    if self.truth is not None:
      hdus.append(image(self.truth, "TRUTH"))
    return hdus

  def plot(self, markers=None, title=None):
    """Truth, Kaiser-Squires, Wiener, mean, std and two samples; `(figure, axes)`."""
    maps = {} if self.truth is None else {"Truth": self.truth}
    smoothing = self.kaiser_squires.settings["smoothing_arcmin"]
    maps[f"Kaiser-Squires, {smoothing:g} arcmin"] = self.kaiser_squires.kappa
    maps["Wiener filter"] = self.wiener.kappa
    maps[f"Mean of {self.summary.num_samples} samples"] = self.summary.mean
    if self.summary.num_samples > 1:
      maps["Standard deviation of samples"] = self.summary.std
    for index in range(min(2, self.summary.num_samples)):
      maps[f"Sample {index + 1}"] = self.sample_set.samples[index]
    columns = 4 if self.truth is not None else 3
    return plot.plot_maps(
      maps,
      self.shear_map.grid,
      mask=self.shear_map.mask,
      markers=markers,
      num_columns=columns,
      title=title,
    )

  def save_figure(self, path, overwrite=False, *, markers=None, title=None, dpi=150):
    """Writes `plot` to an image file; a PNG carries the settings as metadata."""
    with io.atomic_path(path, overwrite) as temporary:
      self._draw(temporary, markers, title, dpi)

  def _draw(self, path, markers=None, title=None, dpi=150):
    figure, _ = self.plot(markers, title)
    metadata = io.figure_metadata(path, self.settings)
    figure.savefig(path, dpi=dpi, metadata=metadata)


def reconstruct(
  shear_map: shear_map_lib.ShearMap,
  prior: str | os.PathLike | spectra.PowerSpectrum | priors.Prior,
  *,
  num_samples: int,
  seed: int,
  sampler: Sampler = Sampler(),
  products: Products = Products(),
  sources: Sources | None = None,
  truth: np.ndarray | None = None,
  reduced_shear: bool = False,
  progress: bool = True,
) -> Reconstruction:
  """Samples the posterior of a shear map, and summarises the samples.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: Name or path of a trained prior (`priors.HybridPrior.load`); a
      `spectra.PowerSpectrum`, for a Gaussian prior; or any `priors.Prior` on the grid of
      the map.
    num_samples: Number of independent posterior samples.
    seed: Integer.
    sampler: `Sampler`.
    products: `Products`.
    sources: None, or `Sources`. Redshifts that a trained prior was not made for give a
      warning.
    truth: `[ny, nx]` of a mock, kept beside the results.
    reduced_shear: Whether to model the shapes as shear / (1 - kappa), which they
      measure, instead of the shear (`likelihood.ReducedShearLikelihood`). It matters in
      clusters, and is not available with "annealed". The Wiener filter and the
      Kaiser-Squires map always take the shapes for shear.
    progress: Whether to show a progress bar.

  Returns:
    A `Reconstruction`.

  Raises:
    ValueError: Before any sampling, if the truth has another shape, the spectrum does
      not cover the map, a header cannot hold an entry, quantiles or thresholds are out of
      their range, or the method cannot take reduced shear.
    RuntimeError: Before any sampling, if the Wiener filter does not converge.
  """
  grid = shear_map.grid
  if truth is not None and np.shape(truth) != grid.shape:
    raise ValueError(f"truth must have shape {grid.shape}; got {np.shape(truth)}.")
  io.provenance_header({**shear_map.settings, **products.header})
  summary_lib.check_levels(products.quantiles, products.thresholds)
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  if reduced_shear:
    likelihood = likelihood_lib.ReducedShearLikelihood(shear_map)
  prior = _make_prior(prior, grid, sources)
  # What is cheap and can fail comes first, before the sampling.
  wiener = baselines.wiener.estimate(
    shear_map, prior.gaussian, max_iterations=_WIENER_ITERATIONS
  )
  sample_set = samplers.sample(
    posterior_lib.Posterior(likelihood, prior),
    num_samples,
    seed=seed,
    method=sampler.method,
    settings=sampler.settings,
    options=samplers.RunOptions(
      batch_size=sampler.batch_size,
      output=products.samples_path,
      overwrite=products.overwrite,
      jit_compile=sampler.jit_compile,
      progress=progress,
    ),
  )
  return Reconstruction(
    shear_map=shear_map,
    sample_set=sample_set,
    summary=summary_lib.summarise(
      sample_set.samples,
      quantiles=products.quantiles,
      thresholds=products.thresholds,
    ),
    kaiser_squires=baselines.kaiser_squires.estimate(shear_map),
    wiener=wiener,
    truth=truth,
    settings={
      **shear_map.settings,
      **products.header,
      "seed": int(seed),
      "num_samples": int(num_samples),
      "batch_size": min(int(sampler.batch_size), int(num_samples)),
      "reduced_shear": bool(reduced_shear),
      "method": sample_set.method,
      "prior": prior.description,
      "score evaluations per sample": sample_set.num_score_evaluations,
      **sample_set.diagnostics,
      **sample_set.settings,
    },
  )


# Noise that varies strongly from pixel to pixel makes conjugate gradients slow; this many
# iterations take seconds, and one that needs more has a pixel without noise.
_WIENER_ITERATIONS = 5000


def _make_prior(prior, grid, sources):
  """The prior on a grid, of all that `reconstruct` accepts for one."""
  if isinstance(prior, spectra.PowerSpectrum):
    return priors.GaussianPrior.from_spectrum(prior, grid)
  if not isinstance(prior, (str, os.PathLike)):
    return prior
  return priors.HybridPrior.load(
    prior,
    grid,
    source_redshifts=None if sources is None else sources.redshifts,
    source_counts=None if sources is None else sources.counts,
  )
