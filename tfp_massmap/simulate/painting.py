"""Paints haloes of many sizes by convolution: one template a size and concentration.

A halo belongs to one of a few templates, on a grid of logarithmic angle and
concentration. It goes to one of its two neighbours on either axis at random, so that
the mean profile is the interpolated one. All haloes of a template are painted by one
product in Fourier space, however many they are and however large.
"""

import numpy as np
from scipy import fft

from tfp_massmap.simulate import nfw

_LOG_ANGLE_STEP = 0.15  # decades
_LOG_CONCENTRATION_STEP = 0.2
_SMALLEST_ANGLE = 0.25  # pixels; haloes no larger than _POINT are points
_POINT = 0.5
_SMOOTH = 12.0
_LARGEST_ANGLE = 250  # only very near haloes, with little effect, are larger
_CONCENTRATIONS = (0.9, 14.0)
_SMALLEST_ELLIPTICAL = 2.5  # pixels
_ELLIPTICITIES = (0.2, 0.4)
_DIRECTIONS = (np.arange(4) + 0.5) * np.pi / 16  # an eighth of the circle
_GOLDEN = (np.sqrt(5) - 1) / 2


class HaloPainter:
  """Adds haloes to the Fourier transform of a periodic map.

  Args:
    shape: `(ny, nx)` of the map.
    pixel_radians: pixel side.
    elliptical: whether haloes larger than a few pixels are elliptical, with templates
      of ellipticity 0.2 and 0.4, (a - b) / (a + b), at scattered angles.
  """

  def __init__(self, shape, pixel_radians, *, elliptical):
    self.shape = shape
    self._pixel_radians = pixel_radians
    self._num_orientations = len(_ELLIPTICITIES) if elliptical else 1
    largest = min(_LARGEST_ANGLE, min(shape) / 2)
    self._num_angles = _num_nodes(_SMALLEST_ANGLE, largest, _LOG_ANGLE_STEP)
    self._num_concentrations = _num_nodes(*_CONCENTRATIONS, _LOG_CONCENTRATION_STEP)
    self._transforms = {}

  def __getstate__(self):
    # Templates are made again faster than they travel between processes.
    return {**self.__dict__, "_transforms": {}}

  @property
  def num_templates(self):
    return self._num_angles * self._num_concentrations * self._num_orientations

  def nodes(self, angle, concentration):
    """Fractional indices of haloes on the grid of templates, within it."""
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

  def assign(self, haloes, rng):
    """Template of each halo, int16: its node on either axis rounded at random."""
    num = haloes.pixel.size
    angle, concentration = self.nodes(haloes.angle, haloes.concentration)
    angle = (angle + rng.random(num, dtype=np.float32)).astype(np.int16)
    concentration = concentration + rng.random(num, dtype=np.float32)
    template = angle * self._num_concentrations + concentration.astype(np.int16)
    orientation = rng.integers(self._num_orientations, size=num, dtype=np.int16)
    return template * self._num_orientations + orientation

  def paint(self, template, pixel, *, amplitude):
    """Fourier transform of the painted haloes, complex64 `[ny, nx // 2 + 1]`.

    Args:
      template: template of each halo, from `assign`, `[n]`.
      pixel: flat pixel index, `[n]`.
      amplitude: sum over pixels of the convergence, `[n]`.
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

  def profiles(self, frequency):
    """Fourier transforms of the templates, and their mean squares.

    Args:
      frequency: angular frequency in radians per pixel, `[n]`, positive.

    Returns:
      Two float64 arrays `[num_angles, num_concentrations, n]`: the mean over directions
      of the transform, 1 at frequency 0, and that of its square, over ellipticities
      too.
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
      # From some size on, pixels are a window and nothing else.
      transforms = (
        halo * window
        if radius >= _SMOOTH
        else self._stamp_transforms(radius, concentration, along, across)
      )
      profile[index] = transforms.mean(axis=0)
      square[index] = (transforms**2).mean(axis=0)
      if self._num_orientations > 1 and radius >= _SMALLEST_ELLIPTICAL:
        mean_square = nfw.fourier_profile(q * _stretches(), concentration) ** 2
        square[index] *= mean_square.mean(axis=0) / np.maximum(halo**2, 1e-9)
    return profile, square

  def _stamp_transforms(self, radius, concentration, along, across):
    """Transform of a round template at frequencies `[..., n]` along rows and columns."""
    stamp = _stamp(radius, concentration, 0.0, 0.0, min(self.shape) // 2 - 1)
    offsets = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    by_row = np.cos(along[..., None] * offsets) @ stamp
    return (by_row * np.cos(across[..., None] * offsets)).sum(axis=-1)

  @property
  def num_nodes(self):
    """Numbers of nodes of angle and of concentration."""
    return self._num_angles, self._num_concentrations

  def _size(self, angle_index, concentration_index):
    """Radius in pixels and concentration of a node."""
    return (
      _SMALLEST_ANGLE * 10 ** (angle_index * _LOG_ANGLE_STEP),
      _CONCENTRATIONS[0] * 10 ** (concentration_index * _LOG_CONCENTRATION_STEP),
    )

  def _transform(self, index):
    """Real Fourier transform of a template, or None for a point."""
    node, orientation = divmod(index, self._num_orientations)
    radius, concentration = self._size(*divmod(node, self._num_concentrations))
    if radius < _POINT:
      return None
    round_ = self._num_orientations == 1 or radius < _SMALLEST_ELLIPTICAL
    key = (node, 0 if round_ else orientation)
    if key not in self._transforms:
      ellipticity = 0.0 if round_ else _ELLIPTICITIES[orientation]
      # The golden ratio spreads the angles of neighbouring templates evenly.
      angle = np.pi * ((index * _GOLDEN) % 1)
      half = min(self.shape) // 2 - 1
      stamp = _stamp(radius, concentration, ellipticity, angle, half)
      image = np.zeros(self.shape, np.float32)
      offsets = np.arange(-(stamp.shape[0] // 2), stamp.shape[0] // 2 + 1)
      image[np.ix_(offsets, offsets)] = stamp
      # Point-symmetric about the origin, hence real.
      self._transforms[key] = np.ascontiguousarray(fft.rfft2(image).real)
    return self._transforms[key]


def _stretches():
  """By how much an elliptical halo is narrower, by direction and ellipticity, `[n, 1]`."""
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
  """A halo centred on a pixel, averaged over pixels, of sum 1, `[2h + 1, 2h + 1]`."""
  axis_ratio = (1 - ellipticity) / (1 + ellipticity)
  half = min(int(np.ceil(radius / np.sqrt(axis_ratio))) + 1, largest_half)
  offsets = np.arange(-half, half + 1)

  # F needs inverse hyperbolic functions: a table is ten times faster.
  table = np.geomspace(1e-4, 1, 600) * concentration
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

  stamp = mean(offsets, 1 if half > 12 else 4)
  for inner, num_sub in ((4, 12), (0, 60)):
    inner = min(inner, half)
    part = slice(half - inner, half + inner + 1)
    stamp[part, part] = mean(offsets[part], num_sub)
  return stamp / stamp.sum()
