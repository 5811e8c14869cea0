"""Few points that fill a distribution evenly."""

import numpy as np


def centres(num: int, dimensions: int, *, rng: np.random.Generator) -> np.ndarray:
  """Returns a Latin hypercube whose points lie in the middle of their cells.

  In each dimension there is one point in each of `num` equal parts of (0, 1); their order
  is random. Quantile functions turn them into draws of any independent distributions.

  Args:
    num: Number of points.
    dimensions: Number of dimensions.
    rng: Random numbers.

  Returns:
    float64 `[num, dimensions]`.
  """
  columns = [rng.permutation(num) for _ in range(dimensions)]
  return (np.stack(columns, axis=-1) + 0.5) / num
