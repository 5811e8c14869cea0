"""Figures. Every function returns `(figure, axes)` and shows nothing by itself."""

from collections.abc import Mapping

from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tfp_massmap import geometry

# Percentiles at the ends of the colour scale of convergence, and at the upper end of
# that of standard deviations. A few pixels of noise or of halo centres are left out, so
# that the rest of the map keeps its contrast.
_LOW, _HIGH = 1, 99.7
_HIGH_STD = 99.8

# Standard deviation in pixels of the filter of an outlined mask: single empty pixels
# are holes of the sampling, not of the survey.
_OUTLINE_SMOOTHING = 2


def plot_maps(
  maps: Mapping[str, npt.ArrayLike],
  grid: geometry.PixelGrid,
  *,
  mask: npt.ArrayLike | None = None,
  markers: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
  num_columns: int = 4,
  title: str | None = None,
) -> tuple[mpl_figure.Figure, list[mpl_axes.Axes]]:
  """Draws convergence maps side by side, north up and east to the left.

  Args:
    maps: Maps `[ny, nx]` by title. Those with a title that starts with "Standard
      deviation" get a colour scale of their own; all the others share one.
    grid: Grid of the maps. Axes are right ascension and declination if it has a WCS,
      and otherwise arcmin from the corner.
    mask: Bool `[ny, nx]`, outlined where it is wide enough to see.
    markers: `(ra, dec)` in degrees, drawn as circles; they need a WCS.
    num_columns: Number of panels in a row.
    title: Title of the figure.

  Returns:
    The figure, and its axes in the order of `maps`.

  Raises:
    ValueError: For markers on a grid without a WCS.
  """
  if markers is not None and grid.wcs is None:
    raise ValueError(
      "Markers are sky positions, and this grid has no WCS. Make it with"
      " PixelGrid.tangent(center, shape, pixel_scale=...), or leave out the markers."
    )
  num_columns = min(num_columns, len(maps))
  num_rows = -(-len(maps) // num_columns)
  figure = mpl_figure.Figure(
    figsize=(4.2 * num_columns + 0.4, 3.6 * num_rows + 0.5), layout="constrained"
  )
  limits = _shared_limits([m for name, m in maps.items() if not _is_std(name)])
  axes = []
  for index, (name, values) in enumerate(maps.items()):
    axis = figure.add_subplot(num_rows, num_columns, index + 1, projection=grid.wcs)
    _show(figure, axis, values, grid, limits, _is_std(name))
    axis.set_title(name, fontsize=10, parse_math=False)
    _outline(axis, mask, grid)
    _label(axis, grid, index, num_columns, len(maps))
    if markers is not None:
      _mark(axis, markers, grid)
    axes.append(axis)
  if title:
    figure.suptitle(title, parse_math=False)
  return figure, axes


def _is_std(name):
  return name.startswith("Standard deviation")


def _show(figure, axis, values, grid, limits, is_std):
  if is_std:
    style = dict(cmap="viridis", vmin=0, vmax=np.nanpercentile(values, _HIGH_STD))
    label, extend = r"std of $\kappa$", "max"
  else:
    style = dict(cmap="inferno", vmin=limits[0], vmax=limits[1])
    label, extend = r"convergence $\kappa$", "both"
  image = axis.imshow(
    values, origin="lower", interpolation="nearest", extent=_extent(grid), **style
  )
  bar = figure.colorbar(image, ax=axis, extend=extend, shrink=0.85)
  bar.set_label(label, fontsize=8)
  bar.ax.tick_params(labelsize=7)


def _mark(axis, markers, grid):
  axis.scatter(
    *markers,
    transform=axis.get_transform("world"),
    s=28,
    facecolors="none",
    edgecolors="cyan",
    linewidths=0.7,
  )
  # Markers outside the map must not change its limits.
  axis.set_xlim(grid.shape[1] - 0.5, -0.5)
  axis.set_ylim(-0.5, grid.shape[0] - 0.5)


def _shared_limits(maps):
  low = min(np.nanpercentile(m, _LOW) for m in maps)
  high = max(np.nanpercentile(m, _HIGH) for m in maps)
  return low, high


def _extent(grid):
  """Returns None, for pixel coordinates, with a WCS; limits in arcmin without one."""
  if grid.wcs is not None:
    return None
  height, width = (side.to_value("arcmin") for side in grid.extent)
  return (0, width, 0, height)


def _outline(axis, mask, grid):
  if mask is None or np.all(mask):
    return
  smooth = ndimage.gaussian_filter(np.asarray(mask, float), _OUTLINE_SMOOTHING)
  axis.contour(
    smooth, levels=[0.5], colors="white", linewidths=0.6, extent=_extent(grid)
  )


def _label(axis, grid, index, num_columns, num_maps):
  left = index % num_columns == 0
  bottom = index + num_columns >= num_maps
  if grid.wcs is None:
    axis.set_xlabel("x [arcmin]" if bottom else "")
    axis.set_ylabel("y [arcmin]" if left else "")
    return
  axis.invert_xaxis()
  ra, dec = axis.coords
  for coordinate in (ra, dec):
    coordinate.set_major_formatter("d.d")
    coordinate.set_ticks(number=4)
    coordinate.set_ticklabel(size=8)
  ra.set_axislabel("RA (J2000) [deg]" if bottom else "")
  dec.set_axislabel("Dec (J2000) [deg]" if left else "")
  ra.set_ticklabel_visible(bottom)
  dec.set_ticklabel_visible(left)
