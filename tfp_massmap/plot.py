"""Figures. Every function returns `(figure, axes)` and shows nothing by itself."""

from matplotlib import figure as mpl_figure
import numpy as np
from scipy import ndimage


def plot_maps(maps, grid, *, mask=None, markers=None, num_columns=4, title=None):
  """Convergence maps side by side, north up and east to the left.

  Args:
    maps: dict of title to `[ny, nx]`. Titles that start with "Standard deviation" get
      a colour scale of their own; all the others share one.
    grid: `geometry.PixelGrid`; axes are right ascension and declination if it has a
      WCS, else arcmin from the corner.
    mask: bool `[ny, nx]`, outlined where it is wide enough to see.
    markers: `(ra, dec)` in degrees, circled; needs a WCS.
    num_columns: panels in a row.
    title: of the figure.

  Returns:
    `(figure, axes)`, axes a list in the order of `maps`.

  Raises:
    ValueError: for markers on a grid without a WCS.
  """
  if markers is not None and grid.wcs is None:
    raise ValueError("Markers are sky positions, and this grid has no WCS.")
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
    style = dict(cmap="viridis", vmin=0, vmax=np.nanpercentile(values, 99.8))
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
  axis.set_xlim(grid.shape[1] - 0.5, -0.5)
  axis.set_ylim(-0.5, grid.shape[0] - 0.5)


def _shared_limits(maps):
  low = min(np.nanpercentile(m, 1) for m in maps)
  high = max(np.nanpercentile(m, 99.7) for m in maps)
  return low, high


def _extent(grid):
  """Pixel coordinates under a WCS, arcmin without one."""
  if grid.wcs is not None:
    return None
  height, width = (side.to_value("arcmin") for side in grid.extent)
  return (0, width, 0, height)


def _outline(axis, mask, grid):
  if mask is None or np.all(mask):
    return
  # Single empty pixels are holes of the sampling, not of the survey.
  smooth = ndimage.gaussian_filter(np.asarray(mask, float), 2)
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
