"""The settings of the simulator that no theory gives."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The numbers of the simulator that no theory gives.

  Shift, largest mass and concentration were fitted to the moments, peak counts and
  starlet l1 norms of five of ten genuine kappaTNG crops, on the grid of
  `examples/benchmarks/simulator.py --fit`. chi^2 is least, and flat, for shift 1,
  largest masses between 5e14 and 7e14, and concentrations between 0.68 and 0.72.
  Without `--fit`, the benchmark compares the simulator with the other five crops.

  Attributes:
    shell_width: Width of a shell in Mpc/h, about; that of the box of the simulations.
      The shells before the last sources are equally wide.
    shift: Lower bound of the shells' overdensity, times -1. The smaller it is, the more
      skewed are the large scales.
    damping: Length in Mpc/h that takes the power of single haloes out of the shells. It
      is the outer radius of a halo of 1.5e13 Msun/h.
    mass_range: Smallest and largest mass of a halo, Msun/h. Smaller haloes
      are left to the shells, and the box of the simulations, 205 Mpc/h wide, has hardly
      any larger one. In another cosmology the largest mass is that of an equally rare
      peak of the linear density.
    concentration_factor: Concentrations over those of Duffy et al. (2008). In another
      cosmology they are those of equally rare peaks.
    concentration_scatter: Standard deviation of ln c, assumed rather than fitted.

  Raises:
    ValueError: If a number is not positive (the scatter may be 0).
  """

  shell_width: float = 205.0
  shift: float = 1.0
  _: dataclasses.KW_ONLY
  damping: float = 0.6
  mass_range: tuple[float, float] = (3e11, 6e14)
  concentration_factor: float = 0.72
  concentration_scatter: float = 0.2

  def __post_init__(self) -> None:
    for name in (
      "shell_width",
      "shift",
      "damping",
      "concentration_factor",
    ):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
    if self.concentration_scatter < 0:
      raise ValueError(
        f"concentration_scatter must not be negative; got {self.concentration_scatter}."
      )
