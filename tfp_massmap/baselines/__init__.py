"""Reference methods, one module each, with `estimate(shear_map, ...) -> MassMap`.

Another baseline is a module with `estimate` and `standard_deviation`, and a line here.
"""

from tfp_massmap.baselines import deepmass
from tfp_massmap.baselines import glimpse
from tfp_massmap.baselines import inpainted_kaiser_squires
from tfp_massmap.baselines import kaiser_squires
from tfp_massmap.baselines import mcalens
from tfp_massmap.baselines import wiener
from tfp_massmap.baselines.mass_map import MassMap

__all__ = [
  "MassMap",
  "deepmass",
  "glimpse",
  "inpainted_kaiser_squires",
  "kaiser_squires",
  "mcalens",
  "wiener",
]
