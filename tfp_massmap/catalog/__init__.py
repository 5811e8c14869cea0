"""Shape catalogues: read, validate, project and bin them into a `shear_map.ShearMap`.

Shapes are taken as calibrated estimates of the reduced shear, <e> = g, in the weak
limit g = gamma. `docs/conventions.md` says what the signs mean.

  - `files` reads tables of several formats; a new format is a new line there.
  - `columns` finds out which column plays which role.
  - `galaxies` holds `ShearCatalogue` and the checks of its values.
  - `binning` makes maps.
"""

from tfp_massmap.catalog.binning import bin_catalogue
from tfp_massmap.catalog.binning import tangent_grid
from tfp_massmap.catalog.columns import COLUMN_GUESSES
from tfp_massmap.catalog.columns import catalogue_from_table
from tfp_massmap.catalog.columns import resolve_columns
from tfp_massmap.catalog.files import read_catalogue
from tfp_massmap.catalog.files import read_schrabback2010
from tfp_massmap.catalog.files import read_table
from tfp_massmap.catalog.galaxies import ShearCatalogue

__all__ = [
  "COLUMN_GUESSES",
  "ShearCatalogue",
  "bin_catalogue",
  "catalogue_from_table",
  "read_catalogue",
  "read_schrabback2010",
  "read_table",
  "resolve_columns",
  "tangent_grid",
]
