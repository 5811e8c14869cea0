"""Paints haloes of many sizes by convolution with a few templates.

Each halo belongs to one of the templates on a grid of logarithmic angle and
concentration. On either axis it goes to one of its two neighbours at random, so that
the mean profile is the interpolated one. All haloes of a template are painted by one
product in Fourier space, whatever their number and size.
"""

import numpy as np
from scipy import fft

from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import nfw

# Steps of the grid, in decades. Haloes are spread over two nodes, which blurs their
# sizes by half a step: 19 % in angle, 26 % in concentration, as much as the scatter of
# ln c.
_LOG_ANGLE_STEP = 0.15
_LOG_CONCENTRATION_STEP = 0.2
# Range of outer radii, in pixels. Only very near haloes, with little lensing, are
# larger.
_SMALLEST_ANGLE = 0.25
_LARGEST_ANGLE = 250
# Outer radius in pixels below which a halo is a point, and from which the transform of
# a template is that of the profile times the window of a pixel.
_POINT = 0.5
_SMOOTH = 12.0
# Range of concentrations, into which others are moved. Those of the recipe have medians
# from 1.3 to 8.5 over all masses and redshifts, and scatter by 0.2 in ln c.
_CONCENTRATIONS = (0.9, 14.0)
# Outer radius in pixels from which haloes are elliptical: pixels make smaller ones
# round.
_SMALLEST_ELLIPTICAL = 2.5
# (a - b) / (a + b) of elliptical templates, axis ratios of 0.67 and 0.43: a small and a
# large value of projected haloes. `examples/benchmarks/simulator.py` compares the maps
# with kappaTNG in both modes, with elliptical haloes and without.
_ELLIPTICITIES = (0.2, 0.4)
# Directions over which transforms are averaged: the grid's symmetry leaves an eighth of
# the circle.
_DIRECTIONS = (np.arange(4) + 0.5) * np.pi / 16
_GOLDEN = (np.sqrt(5) - 1) / 2
# Table of the profile within the outer radius, in place of inverse hyperbolic
# functions, which are ten times slower.
_TABLE = np.geomspace(1e-4, 1, 600)
# Points along a side of a pixel over which a template is averaged: 4 for small haloes
# and 1 for those that reach farther than 12 pixels; but 12 within 4 pixels of the cusp,
# and 60 in its own pixel.
_FEW_POINTS = 4
_FAR = 12
_CUSP_POINTS = ((4, 12), (0, 60))
# Smallest square of a transform that divides: beyond, the profile has no power.
_LEAST_SQUARE = 1e-9


class HaloPainter:
  """Adds haloes to the Fourier transform of a periodic map.

  Args:
    shape: `(ny, nx)` of the map.
    pixel_radians: Side of a pixel in radians.
    elliptical: Whether haloes larger than a few pixels are elliptical, with templates
      of ellipticity 0.2 and 0.4, (a - b) / (a + b), at scattered angles.

  Attributes:
    shape: As given.
  """

  def __init__(
    self, shape: tuple[int, int], pixel_radians: float, *, elliptical: bool
  ) -> None:
    self.shape = shape
    self._pixel_radians = pixel_radians
    self._num_orientations = len(_ELLIPTICITIES) if elliptical else 1
    largest = min(_LARGEST_ANGLE, min(shape) / 2)
    self._num_angles = _num_nodes(_SMALLEST_ANGLE, largest, _LOG_ANGLE_STEP)
    self._num_concentrations = _num_nodes(*_CONCENTRATIONS, _LOG_CONCENTRATION_STEP)
    self._transforms: dict[tuple, np.ndarray] = {}

  def __getstate__(self):
    # Templates are made again faster than they travel between processes.
    return {**self.__dict__, "_transforms": {}}

  @property
  def num_templates(self) -> int:
    """Number of templates."""
    return self._num_angles * self._num_concentrations * self._num_orientations

  @property
  def num_nodes(self) -> tuple[int, int]:
    """Numbers of nodes of angle and of concentration."""
    return self._num_angles, self._num_concentrations

  def nodes(
    self, angle: np.ndarray, concentration: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns the fractional indices of haloes on the grid of templates, within it.

    Args:
      angle: Outer radii in radians.
      concentration: Concentrations, of the same shape.
    """
    log_angle = np.log10(angle / self._pixel_radians / _SMALLEST_ANGLE)
    log_concentration = np.log10(concentration / _CONCENTRATIONS[0])
    return (
      np.clip(log_angle / _LOG_ANGLE_STEP, 0, self._num_angles - 1.001),
      np.clip(
        log_concentration / _LOG_CONCENTRATION_STEP,
        0,
        self._num_concentrations - 1.001,
      ),
    )

  def assign(
    self, haloes: halo_population.Haloes, rng: np.random.Generator
  ) -> np.ndarray:
    """Returns the template of each halo, with its nodes rounded at random, int16.

    Args:
      haloes: Haloes, `[n]`.
      rng: Generator of the rounding and the orientations.
    """
    num = haloes.pixel.size
    angle, concentration = self.nodes(haloes.angle, haloes.concentration)
    angle = (angle + rng.random(num, dtype=np.float32)).astype(np.int16)
    concentration = concentration + rng.random(num, dtype=np.float32)
    template = angle * self._num_concentrations + concentration.astype(np.int16)
    orientation = rng.integers(self._num_orientations, size=num, dtype=np.int16)
    return template * self._num_orientations + orientation

  def paint(
    self, template: np.ndarray, pixel: np.ndarray, *, amplitude: np.ndarray
  ) -> np.ndarray:
    """Returns the Fourier transform of the haloes, complex64 `[ny, nx // 2 + 1]`.

    Args:
      template: Template of each halo, from `assign`, `[n]`.
      pixel: Flat pixel index, `[n]`.
      amplitude: Sum over pixels of the convergence, `[n]`.
    """
    order = np.argsort(template, kind="stable")
    pixel, amplitude = pixel[order], amplitude[order]
    edges = np.searchsorted(template[order], np.arange(self.num_templates + 1))
    points = np.zeros(self.shape, np.float32)
    total = np.zeros([self.shape[0], self.shape[1] // 2 + 1], np.complex64)
    for index in np.flatnonzero(np.diff(edges)):
      part = slice(edges[index], edges[index + 1])
      weights = np.bincount(pixel[part], amplitude[part], points.size)
      weights = weights.reshape(self.shape).astype(np.float32)
      transform = self._transform(index)
      if transform is None:
        points += weights
      else:
        total += transform * fft.rfft2(weights)
    return total + fft.rfft2(points)

  def profiles(self, frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the Fourier transforms of the templates, and their mean squares.

    Args:
      frequency: Angular frequency in radians per pixel, positive, `[n]`.

    Returns:
      Two float64 arrays `[num_angles, num_concentrations, n]`: the mean over directions
      of the transform, which is 1 at frequency 0; and the mean of its square, over
      directions and ellipticities.
    """
    profile = np.ones([*self.num_nodes, frequency.size])
    square = np.ones_like(profile)
    along = frequency * np.cos(_DIRECTIONS)[:, None]
    across = frequency * np.sin(_DIRECTIONS)[:, None]
    window = np.sinc(along / (2 * np.pi)) * np.sinc(across / (2 * np.pi))
    for index in np.ndindex(*self.num_nodes):
      radius, concentration = self._size(*index)
      if radius < _POINT:
        continue
      q = frequency * radius / concentration
      halo = nfw.fourier_profile(q, concentration)
      if radius >= _SMOOTH:
        transforms = halo * window
      else:
        transforms = self._stamp_transforms(radius, concentration, along, across)
      profile[index] = transforms.mean(axis=0)
      square[index] = (transforms**2).mean(axis=0)
      if self._num_orientations > 1 and radius >= _SMALLEST_ELLIPTICAL:
        mean_square = nfw.fourier_profile(q * _stretches(), concentration) ** 2
        square[index] *= mean_square.mean(axis=0) / np.maximum(halo**2, _LEAST_SQUARE)
    return profile, square

  def _stamp_transforms(self, radius, concentration, along, across):
    """Returns the transform of a round template along rows and columns, `[..., n]`."""
    stamp = _stamp(radius, concentration, 0.0, 0.0, min(self.shape) // 2 - 1)
    offsets = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    by_row = np.cos(along[..., None] * offsets) @ stamp
    return (by_row * np.cos(across[..., None] * offsets)).sum(axis=-1)

  def _size(self, angle_index, concentration_index):
    """Returns radius in pixels and concentration of a node."""
    return (
      _SMALLEST_ANGLE * 10 ** (angle_index * _LOG_ANGLE_STEP),
      _CONCENTRATIONS[0] * 10 ** (concentration_index * _LOG_CONCENTRATION_STEP),
    )

  def _transform(self, index):
    """Returns the real Fourier transform of a template, or None for a point."""
    node, orientation = divmod(index, self._num_orientations)
    radius, concentration = self._size(*divmod(node, self._num_concentrations))
    if radius < _POINT:
      return None
    is_round = self._num_orientations == 1 or radius < _SMALLEST_ELLIPTICAL
    key = (node, 0 if is_round else orientation)
    if key not in self._transforms:
      ellipticity = 0.0 if is_round else _ELLIPTICITIES[orientation]
      # The golden ratio spreads the angles of neighbouring templates evenly.
      angle = np.pi * ((index * _GOLDEN) % 1)
      half = min(self.shape) // 2 - 1
      stamp = _stamp(radius, concentration, ellipticity, angle, half)
      image = np.zeros(self.shape, np.float32)
      offsets = np.arange(-(stamp.shape[0] // 2), stamp.shape[0] // 2 + 1)
      image[np.ix_(offsets, offsets)] = stamp
      # Point symmetry about the origin makes the transform real.
      self._transforms[key] = np.ascontiguousarray(fft.rfft2(image).real)
    return self._transforms[key]


def _stretches():
  """Returns how much narrower elliptical haloes are, by ellipticity and direction.

  The shape is `[n, 1]`.
  """
  axis_ratio = (1 - np.array(_ELLIPTICITIES)) / (1 + np.array(_ELLIPTICITIES))
  direction = np.concatenate([_DIRECTIONS, np.pi / 2 - _DIRECTIONS])
  stretch = np.hypot(
    np.cos(direction) / np.sqrt(axis_ratio)[:, None],
    np.sin(direction) * np.sqrt(axis_ratio)[:, None],
  )
  return stretch.reshape(-1, 1)


def _num_nodes(low, high, step):
  return int(np.ceil(np.log10(high / low) / step)) + 1


def _stamp(radius, concentration, ellipticity, angle, largest_half):
  """Returns a halo centred on a pixel, averaged over pixels, `[2h + 1, 2h + 1]`.

  Its sum is 1.
  """
  axis_ratio = (1 - ellipticity) / (1 + ellipticity)
  half = min(int(np.ceil(radius / np.sqrt(axis_ratio))) + 1, largest_half)
  offsets = np.arange(-half, half + 1)
  table = _TABLE * concentration
  shape = nfw.convergence_shape(table, concentration)

  def mean(offsets, num_sub):
    within = (np.arange(num_sub) + 0.5) / num_sub - 0.5
    places = (offsets[:, None] + within).ravel()
    major = places[None, :] * np.cos(angle) + places[:, None] * np.sin(angle)
    minor = places[:, None] * np.cos(angle) - places[None, :] * np.sin(angle)
    distance = np.sqrt(major**2 * axis_ratio + minor**2 / axis_ratio)
    values = np.interp(distance * (concentration / radius), table, shape)
    values = values.reshape(offsets.size, num_sub, offsets.size, num_sub)
    return values.mean(axis=(1, 3))

  stamp = mean(offsets, 1 if half > _FAR else _FEW_POINTS)
  for inner, num_sub in _CUSP_POINTS:
    inner = min(inner, half)
    part = slice(half - inner, half + inner + 1)
    stamp[part, part] = mean(offsets[part], num_sub)
  return stamp / stamp.sum()
