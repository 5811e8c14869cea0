"""From a shear map to products: samples, mean and standard deviation, FITS, figure.

Another extension of the FITS file is an entry of `Reconstruction._extensions`.
"""

import dataclasses
import os

import numpy as np

from tfp_massmap import baselines
from tfp_massmap import batch_posteriors
from tfp_massmap import calibration
from tfp_massmap import io
from tfp_massmap import plot
from tfp_massmap import prior_choice
from tfp_massmap import samplers
from tfp_massmap import shear_errors as shear_errors_lib
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import summary as summary_lib
from tfp_massmap import theory


@dataclasses.dataclass(frozen=True)
class Sampler:
  """Choice of the sampler and of its settings.

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
  """Maps that are made of the samples, and the file that holds these.

  Attributes:
    samples_path: None, or the name of a FITS cube for the samples, in which an
      interrupted run is resumed.
    overwrite: Whether the samples of another run may be replaced there.
    quantiles: Levels in (0, 1) of quantile maps.
    thresholds: Convergences whose probability to be exceeded is mapped.
    header: Further entries for the headers of the products, strings and numbers by name.
    proof: None, or the verdict of a calibration on mocks of this survey, which the
      headers carry.
  """

  samples_path: str | os.PathLike | None = None
  overwrite: bool = False
  _: dataclasses.KW_ONLY
  quantiles: tuple[float, ...] = ()
  thresholds: tuple[float, ...] = ()
  header: dict = dataclasses.field(default_factory=dict)
  proof: calibration.Proof | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstruction:
  """Posterior samples of the convergence of a field, with point estimates.

  Attributes:
    shear_map: The data, `shear_map.ShearMap`.
    sample_set: `samplers.SampleSet`.
    summary: `summary.Summary`: mean, standard deviation, quantiles, probabilities.
    kaiser_squires, wiener: `baselines.MassMap`.
    truth: `[ny, nx]` of a mock, or None.
    settings: Seed, prior, sampler and data, a flat dict.
  """

  shear_map: shear_map_lib.ShearMap
  sample_set: samplers.SampleSet
  _: dataclasses.KW_ONLY
  summary: summary_lib.Summary
  kaiser_squires: baselines.MassMap
  wiener: baselines.MassMap
  truth: np.ndarray | None
  settings: dict

  def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Writes one FITS file with WCS, units and provenance; maps as float32.

    The primary image is the mean. The extensions are STD, QUANTILE_q and PROBABILITY_t
    (of kappa > t) for the levels asked for, SAMPLES (a cube, unless the samples have a
    file of their own), WIENER, KAISER_SQUIRES, MASK, COUNT, and TRUTH for a mock. A new
    extension is an entry of `_extensions`.

    Args:
      path: Name of the file.
      overwrite: Whether an existing file may be replaced.

    Raises:
      FileExistsError: If the file exists and `overwrite` is false.
    """
    grid = self.shear_map.grid
    mean = np.asarray(self.summary.mean, np.float32)
    description = "posterior mean of kappa"
    hdus = [io.primary_hdu(mean, grid, description=description, settings=self.settings)]
    for name, (values, description, unit) in self._extensions().items():
      hdus.append(
        io.image_hdu(values, grid, name=name, description=description, unit=unit)
      )
    io.write_fits(path, hdus, overwrite=overwrite)

  def save_products(
    self,
    fits_path: str | os.PathLike,
    figure_path: str | os.PathLike,
    *,
    overwrite: bool = False,
    markers: tuple | None = None,
    title: str | None = None,
  ) -> None:
    """Writes what `save` and `save_figure` do; both files or neither."""
    with io.atomic_path(figure_path, overwrite=overwrite) as temporary:
      self._draw(temporary, markers=markers, title=title)
      self.save(fits_path, overwrite=overwrite)

  def _extensions(self) -> dict[str, tuple[np.ndarray, str, str]]:
    """Extensions of the FITS file in order: name to values, description and unit."""
    extensions = {"STD": (self.summary.std, "posterior std of kappa")}
    for level, values in self.summary.quantiles.items():
      extensions[f"QUANTILE_{level:g}"] = (values, f"quantile {level:g} of kappa")
    for threshold, values in self.summary.probabilities.items():
      description = f"share with kappa > {threshold:g}"
      extensions[f"PROBABILITY_{threshold:g}"] = (values, description)
    if self.sample_set.path is None:
      extensions["SAMPLES"] = (self.sample_set.samples, "convergence")
    extensions["WIENER"] = (self.wiener.kappa, "convergence")
    extensions["KAISER_SQUIRES"] = (self.kaiser_squires.kappa, "convergence")
    maps: dict[str, tuple[np.ndarray, str, str]] = {
      name: (np.asarray(values, np.float32), description, "")
      for name, (values, description) in extensions.items()
    }
    maps["MASK"] = (self.shear_map.mask, "1 = measured", "")
    if self.shear_map.count is not None:
      count = np.asarray(self.shear_map.count, np.int32)
      maps["COUNT"] = (count, "galaxies per pixel", "count")
    if self.truth is not None:
      maps["TRUTH"] = (np.asarray(self.truth, np.float32), "convergence", "")
    return maps

  def plot(self, *, markers: tuple | None = None, title: str | None = None) -> tuple:
    """Draws truth, Kaiser-Squires, Wiener, mean, standard deviation and two samples.

    Args:
      markers: Right ascension and declination of positions to be circled, degrees.
      title: Title of the figure.

    Returns:
      `(figure, axes)` of matplotlib.
    """
    maps = {} if self.truth is None else {"Truth": self.truth}
    smoothing = self.kaiser_squires.settings["smoothing_arcmin"]
    maps[f"Kaiser-Squires, {smoothing:g} arcmin"] = self.kaiser_squires.kappa
    maps["Wiener filter"] = self.wiener.kappa
    maps[f"Mean of {self.summary.num_samples} samples"] = self.summary.mean
    if self.summary.num_samples > 1:
      maps["Standard deviation of samples"] = self.summary.std
    for index in range(min(2, self.summary.num_samples)):
      maps[f"Sample {index + 1}"] = self.sample_set.samples[index]
    return plot.plot_maps(
      maps,
      self.shear_map.grid,
      mask=self.shear_map.mask,
      markers=markers,
      num_columns=4 if self.truth is not None else 3,
      title=title,
    )

  def save_figure(
    self,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    markers: tuple | None = None,
    title: str | None = None,
    dpi: int = 150,
  ) -> None:
    """Writes `plot` to an image file; a PNG carries the settings as metadata.

    Args:
      path: Name of the file, of any format of matplotlib.
      overwrite: Whether an existing file may be replaced.
      markers, title: As `plot`.
      dpi: Pixels per inch.
    """
    with io.atomic_path(path, overwrite=overwrite) as temporary:
      self._draw(temporary, markers=markers, title=title, dpi=dpi)

  def _draw(self, path, *, markers=None, title=None, dpi=150):
    figure, _ = self.plot(markers=markers, title=title)
    metadata = io.figure_metadata(path, self.settings)
    figure.savefig(path, dpi=dpi, metadata=metadata)


def reconstruct(
  shear_map: shear_map_lib.ShearMap,
  prior: prior_choice.Choice,
  *,
  num_samples: int,
  seed: int,
  sampler: Sampler = Sampler(),
  products: Products = Products(),
  sources: theory.SourceRedshifts | None = None,
  cosmology: theory.Cosmology | theory.CosmologyDistribution | None = None,
  shear_errors: shear_errors_lib.ShearErrors | None = None,
  truth: np.ndarray | None = None,
  reduced_shear: bool = False,
  progress: bool = True,
) -> Reconstruction:
  """Samples the posterior of a shear map, and summarises the samples.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: `prior_choice.Choice`: name or path of a trained prior; a
      `spectra.PowerSpectrum`, for a Gaussian prior; any `priors.Prior` on the grid of
      the map; or a function of a `theory.Cosmology` to one of the last two.
    num_samples: Number of independent posterior samples.
    seed: Integer.
    sampler: `Sampler`.
    products: `Products`.
    sources: The n(z) of the galaxies, `theory.SourceRedshifts`, which a trained prior of
      any survey needs. One that a trained prior was not made for gives a warning.
    cosmology: `theory.Cosmology` of a trained prior of any survey, or of a function; None
      for that of kappaTNG. With a `theory.CosmologyPrior`, or what
      `cosmology_inference.infer` finds, each batch of samples has a cosmology drawn from
      it. Batches are then so small that there are eight cosmologies, or as many as
      samples.
    shear_errors: `shear_errors.ShearErrors`: multiplicative bias and scale of the noise.
      What is known of them is corrected, also in the Wiener filter and the Kaiser-Squires
      map; what is uncertain is drawn for each batch, as a cosmology. None for none.
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
      their range, the method cannot take reduced shear, or a proof is of another survey,
      prior, sampler or errors of the shear.
    RuntimeError: Before any sampling, if the Wiener filter does not converge.
  """
  _check_request(shear_map, products, truth)
  errors = shear_errors or shear_errors_lib.ShearErrors()
  choice = prior_choice.PriorChoice(
    prior, sources=sources, cosmology=cosmology, progress=progress
  )
  _check_sampler(sampler, choice, errors)
  used = choice.on(shear_map.grid)
  words = _words(sampler, reduced_shear, shear_errors)
  about = {"prior": choice.describe(used), **_in_header(shear_errors)}
  about |= _proof(products, choice, shear_map, words)
  # What is cheap and can fail comes first, before the sampling.
  corrected = errors.mean.apply(shear_map)
  wiener = _wiener(corrected, used)
  options = _run_options(sampler, products, progress=progress)
  posteriors = batch_posteriors.BatchPosteriors(
    shear_map, used, choice=choice, errors=errors, reduced_shear=reduced_shear
  )
  if posteriors.differ:
    options = samplers.over_posteriors.batches(num_samples, options)[1]
  drawn = _sample(posteriors, num_samples, seed=seed, sampler=sampler, options=options)
  return Reconstruction(
    shear_map,
    drawn,
    summary=_summarise(drawn, products),
    kaiser_squires=baselines.kaiser_squires.estimate(corrected),
    wiener=wiener,
    truth=truth,
    settings={
      **shear_map.settings,
      **products.header,
      **about,
      **_run_settings(drawn, seed, options, reduced_shear),
    },
  )


def _run_settings(sample_set, seed, options, reduced_shear):
  """Returns what the header says of the run of the sampler."""
  num_samples = len(sample_set.samples)
  return {
    "seed": int(seed),
    "num_samples": num_samples,
    "batch_size": options.size_of(num_samples),
    "reduced_shear": bool(reduced_shear),
    **sample_set.header,
  }


def _in_header(shear_errors):
  return {} if shear_errors is None else {"shear_errors": str(shear_errors)}


def _words(sampler, reduced_shear, shear_errors):
  return calibration.sampler_in_words(
    sampler.method,
    sampler.settings,
    reduced_shear=reduced_shear,
    shear_errors=shear_errors,
  )


def _proof(products, choice, shear_map, words):
  """Returns what the header says of a calibration, if it is one of this map."""
  if products.proof is None:
    return {}
  window = products.proof.window(shear_map)
  return products.proof.header_for(choice.subject(window.grid, words))


def _check_sampler(sampler, choice, errors):
  uncertain = errors.is_uncertain or choice.distribution is not None
  if uncertain and sampler.method != "guided":
    what = "An uncertain cosmology" if choice.distribution else "An error of the shear"
    raise ValueError(f"{what} is for the method 'guided'; got {sampler.method!r}.")


def _sample(posteriors, num_samples, *, seed, sampler, options):
  """Samples the posterior; where something is uncertain, each batch another one."""
  if not posteriors.differ:
    return samplers.sample(
      posteriors.middle(),
      num_samples,
      seed=seed,
      method=sampler.method,
      settings=sampler.settings,
      options=options,
    )
  num_batches, options = samplers.over_posteriors.batches(num_samples, options)
  drawn = posteriors.draw(num_batches, seed)
  return samplers.over_posteriors.sample(
    drawn.of_batch,
    num_samples,
    seed=seed,
    label=drawn.label,
    settings=sampler.settings,
    options=options,
  )


def _wiener(shear_map, prior):
  return baselines.wiener.estimate(
    shear_map, prior.gaussian, max_iterations=_WIENER_ITERATIONS
  )


def _run_options(sampler, products, *, progress):
  return samplers.RunOptions(
    batch_size=sampler.batch_size,
    output=products.samples_path,
    overwrite=products.overwrite,
    jit_compile=sampler.jit_compile,
    progress=progress,
  )


def _summarise(sample_set, products):
  return summary_lib.summarise(
    sample_set.samples, quantiles=products.quantiles, thresholds=products.thresholds
  )


def _check_request(shear_map, products, truth):
  """Refuses before the sampling what would fail after it."""
  shape = shear_map.grid.shape
  if truth is not None and np.shape(truth) != shape:
    raise ValueError(f"truth must have shape {shape}; got {np.shape(truth)}.")
  io.provenance_header({**shear_map.settings, **products.header})
  summary_lib.check_levels(products.quantiles, products.thresholds)


# Noise that varies strongly from pixel to pixel makes conjugate gradients slow; this many
# iterations take seconds, and one that needs more has a pixel without noise.
_WIENER_ITERATIONS = 5000
