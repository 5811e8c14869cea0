"""The settings of the simulator that no theory gives."""

import dataclasses

from tfp_massmap.simulate import convergence_power


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The numbers of the simulator that no theory gives.

  Shift, largest mass and concentration were fitted to the moments, peak counts and
  starlet l1 norms of five of ten genuine kappaTNG crops, on the grid of
  `examples/benchmarks/simulator.py --fit`. chi^2 is least, and flat, for shift 1,
  largest masses between 5e14 and 7e14, and concentrations between 0.68 and 0.72.
  Without `--fit`, the benchmark compares the simulator with the other five crops.

  Attributes:
    num_shells: Number of shells up to the last source plane. They are 205 Mpc/h wide
      for COSMOS, the width of the box of the simulations.
    shift: Lower bound of the shells' overdensity, times -1. The smaller it is, the more
      skewed are the large scales.
    damping: Length in Mpc/h that takes the power of single haloes out of the shells. It
      is the outer radius of a halo of 1.5e13 Msun/h.
    mass_range: Smallest and largest mass of a halo, Msun/h. Smaller haloes
      are left to the shells, and the box of the simulations, 205 Mpc/h wide, has hardly
      any larger one.
    concentration_factor: Concentrations over those of Duffy et al. (2008).
    concentration_scatter: Standard deviation of ln c, assumed rather than fitted.
    large_scale_power: Power up to ell 1,500 over that of
      `power_model.kappatng_over_halofit`. It rises to 1 at ell 3,000.

  Raises:
    ValueError: If a number is not positive (the scatter may be 0).
  """

  num_shells: int = 20
  shift: float = 1.0
  _: dataclasses.KW_ONLY
  damping: float = 0.6
  mass_range: tuple[float, float] = (3e11, 6e14)
  concentration_factor: float = 0.72
  concentration_scatter: float = 0.2
  large_scale_power: float = convergence_power.LARGE_SCALE_POWER

  def __post_init__(self) -> None:
    for name in (
      "num_shells",
      "shift",
      "damping",
      "concentration_factor",
      "large_scale_power",
    ):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
    if self.concentration_scatter < 0:
      raise ValueError(
        f"concentration_scatter must not be negative; got {self.concentration_scatter}."
      )
