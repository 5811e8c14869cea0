"""Makes the first figure of the README: the posterior of the COSMOS field.

    python examples/figures/readme_cosmos.py --data DIR

DIR is that of `examples/01_reconstruct_cosmos.py`: the shape catalogue of Schrabback et
al. (2010), and `xray.txt` there or one folder up. The figure shows the posterior mean,
the standard deviation and two samples, with the X-ray clusters of Finoguenov et al.
(2006) circled. The samples stay in `--output`, so that the same command draws the
figure again without sampling.
"""

import argparse
import pathlib
import tempfile

from astropy import units as u
import numpy as np
import small_png

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import plot
from tfp_massmap import reconstruction
from tfp_massmap import theory

NUM_PIXELS = 360
# Drawn larger than it is shown, so that text stays sharp.
DPI, WIDTH = 200, 900
MARGIN = 8


def bin_cosmos(folder):
  """Returns the binned shear on the box of the released COSMOS maps."""
  catalogue = catalog.read_schrabback2010(folder)
  grid = geometry.PixelGrid.plate_carree(
    center=(np.median(catalogue.ra), np.median(catalogue.dec)),
    shape=(NUM_PIXELS, NUM_PIXELS),
    pixel_scale=1.74 * u.deg / NUM_PIXELS,
  )
  return catalog.bin_catalogue(catalogue, grid, flip_e2=True)


def xray_clusters(folder):
  """Returns right ascensions and declinations of the X-ray clusters, in degrees."""
  path = folder / "xray.txt"
  if not path.is_file():
    path = folder.resolve().parent / "xray.txt"
  return np.loadtxt(path, usecols=(1, 2)).T


def zoom(axes, mask):
  """Shows the measured area, with east to the left, and a margin of some pixels."""
  rows, columns = np.nonzero(mask)
  for axis in axes:
    axis.set_xlim(columns.max() + MARGIN, columns.min() - MARGIN)
    axis.set_ylim(rows.min() - MARGIN, rows.max() + MARGIN)


def main():
  parser = argparse.ArgumentParser(description="Draws the README's COSMOS figure.")
  parser.add_argument("--data", required=True, type=pathlib.Path)
  parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
  parser.add_argument("--num-samples", type=int, default=16)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--overwrite", action="store_true")
  options = parser.parse_args()
  path = options.output / "cosmos.png"
  io.check_writable(path, overwrite=options.overwrite)

  shear_map = bin_cosmos(options.data)
  result = reconstruction.reconstruct(
    shear_map,
    "universal",
    sources=theory.SourceRedshifts.of_survey("cosmos"),
    num_samples=options.num_samples,
    seed=options.seed,
    products=reconstruction.Products(options.output / "cosmos_samples.fits"),
  )
  samples = result.sample_set.samples
  figure, axes = plot.plot_maps(
    {
      f"Mean of {options.num_samples} samples": result.summary.mean,
      "Standard deviation of samples": result.summary.std,
      "Sample 1": samples[0],
      "Sample 2": samples[1],
    },
    shear_map.grid,
    mask=shear_map.mask,
    markers=xray_clusters(options.data),
    num_columns=2,
  )
  zoom(axes, shear_map.mask)
  figure.set_size_inches(8.8, 7.0)
  with tempfile.TemporaryDirectory() as folder:
    large = pathlib.Path(folder) / "cosmos.png"
    io.write_figure(large, figure, settings=result.settings, dpi=DPI)
    with io.atomic_path(path, overwrite=options.overwrite) as temporary:
      small_png.shrink(large, temporary, width=WIDTH)
  print(f"Wrote {path}")


if __name__ == "__main__":
  main()
