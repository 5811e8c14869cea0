"""Settings of the training of a prior, checked when they are made.

Each field carries a line of help and, where there are few, its choices: the options of
`tfp-massmap train` are made from them (`cli.train_options`). This module must not
import TensorFlow, so that the command's help stays fast.
"""

import dataclasses
import math
import typing

from tfp_massmap.priors import noise_laws

_SMALLEST_CROP = 16  # Two of the coarsest pixels of the presets.
_LARGEST_SEED = 2**31 - 1  # A seed must fit into an int32.


def _field(default: typing.Any, text: str, **metadata: typing.Any) -> typing.Any:
  """Returns a field with help and further metadata for the command line.

  Args:
    default: Default value.
    text: One line of help.
    **metadata: `choices`, the allowed values; `may_change`, whether the value may
      differ where a training is resumed; `is_positive`, whether it must be positive.
  """
  return dataclasses.field(default=default, metadata={"help": text, **metadata})


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
  """The settings with which a prior is trained.

  Attributes:
    num_steps: Length of the training, in batches.
    batch_size: Examples in a batch.
    crop: Pixels on a side of an example.
    sigma_law: Name of the law of the noise in `noise_laws.LAWS`.
    sigma_low: Lower bound of sigma; also the smallest sigma that the prior claims.
    sigma_high: Upper bound of sigma, or its standard deviation for "half_normal".
      Remy et al. (2022, section 5.2) have 0.2.
    weighting: Weighting of the squared error in the loss: "error" divides it by the
      Wiener filter's, so that every sigma counts alike; "score" by sigma^2 (Remy et al.
      2022, Eq. 24).
    optimizer: "muon" (`nn.muon`), or "adam", for which 1e-3 is a good learning rate.
    learning_rate: Learning rate after the warm-up, from which it falls along a cosine.
    final_learning_rate: Learning rate of the last step.
    warmup_steps: Steps over which the learning rate rises linearly from 0.
    clip_norm: Gradients are scaled down to this global norm.
    gaussian_share: Share of the examples that are Gaussian fields of the prior's power,
      for which the residual should be zero.
    gaussian_weight: Weight of those examples in the loss. The learnt prior contains a
      fraction share x weight of Gaussian fields. At 0.1, posteriors of cluster-free
      fields are too wide; the default is 0.01 (`docs/prior.md`).
    mixed_precision: Whether convolutions compute in bfloat16; weights and sums stay
      float32. It is faster on devices that have it, and needs no scaling of the loss.
    averaging: Decay per step of the exponential moving average of the weights.
    seed: Seed of examples and first weights.
    validate_every: Steps between validations.
    num_validation: Examples of a validation.
    checkpoint_every: Steps between checkpoints.

  Raises:
    ValueError: If a value is not allowed.
  """

  num_steps: int = _field(
    20000, "length of the training, in batches", may_change=True, is_positive=True
  )
  batch_size: int = _field(8, "examples in a batch", is_positive=True)
  _: dataclasses.KW_ONLY
  crop: int = _field(192, "pixels on a side of an example")
  sigma_law: str = _field(
    "log_uniform",
    "law of the noise: uniform in its logarithm between the two bounds, or the half"
    " normal of Remy et al. (2022) with standard deviation sigma-high",
    choices=tuple(noise_laws.LAWS),
  )
  sigma_low: float = _field(0.003, "lower bound of the noise", is_positive=True)
  sigma_high: float = _field(
    1.5, "upper bound of the noise, or its standard deviation", is_positive=True
  )
  weighting: str = _field(
    "error",
    "weighting of the loss: 'error' counts every noise level alike, 'score' is Eq. 24"
    " of Remy et al. (2022)",
    choices=("error", "score"),
  )
  optimizer: str = _field(
    "muon",
    "optimizer; 1e-3 is a good learning rate for adam",
    choices=("muon", "adam"),
  )
  learning_rate: float = _field(
    2e-3, "learning rate after the warm-up", may_change=True, is_positive=True
  )
  final_learning_rate: float = _field(
    1e-5, "learning rate of the last step", may_change=True, is_positive=True
  )
  warmup_steps: int = _field(
    300, "steps over which the learning rate rises", may_change=True
  )
  clip_norm: float = _field(
    1.0, "global norm that gradients are scaled down to", is_positive=True
  )
  gaussian_share: float = _field(0.1, "share of the examples that are Gaussian fields")
  gaussian_weight: float = _field(0.1, "weight of Gaussian fields in the loss")
  mixed_precision: bool = _field(
    False, "compute convolutions in bfloat16: for processors and GPUs that have it"
  )
  averaging: float = _field(0.999, "decay of the moving average of the weights, a step")
  seed: int = _field(0, "seed of examples and first weights")
  validate_every: int = _field(
    500, "steps between validations", may_change=True, is_positive=True
  )
  num_validation: int = _field(
    32, "examples of a validation", may_change=True, is_positive=True
  )
  checkpoint_every: int = _field(
    250, "steps between checkpoints", may_change=True, is_positive=True
  )

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value, choices = getattr(self, field.name), field.metadata.get("choices")
      if choices and value not in choices:
        raise ValueError(f"{field.name} must be one of {choices}; got {value!r}.")
      if field.metadata.get("is_positive") and not value > 0:
        raise ValueError(f"{field.name} must be positive; got {value}.")
    if self.crop < _SMALLEST_CROP or self.warmup_steps < 0:
      raise ValueError(
        f"crop must be at least {_SMALLEST_CROP} and warmup_steps not negative; got"
        f" {self.crop} and {self.warmup_steps}."
      )
    for name, value in dict(
      averaging=self.averaging, gaussian_share=self.gaussian_share
    ).items():
      if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {value}.")
    if not 0 <= self.gaussian_weight <= 1:
      raise ValueError(
        f"gaussian_weight must lie in [0, 1]; got {self.gaussian_weight}."
      )
    if not 0 <= self.seed <= _LARGEST_SEED:
      raise ValueError(f"seed must lie in [0, {_LARGEST_SEED}]; got {self.seed}.")
    self.make_sigma_law()

  def make_sigma_law(self) -> noise_laws.NoiseLaw:
    """Returns the law of the noise with its bounds."""
    return noise_laws.LAWS[self.sigma_law](self.sigma_low, self.sigma_high)

  @property
  def sigma_range(self) -> tuple[float, float]:
    """Smallest and largest sigma of nearly all examples."""
    return self.make_sigma_law().sigma_range

  def rate_at(self, step: int) -> float:
    """Returns the learning rate of a step."""
    if step < self.warmup_steps:
      return self.learning_rate * (step + 1) / self.warmup_steps
    left = max(self.num_steps - self.warmup_steps, 1)
    share = min((step - self.warmup_steps) / left, 1.0)
    change = self.learning_rate - self.final_learning_rate
    return self.final_learning_rate + change * 0.5 * (1 + math.cos(math.pi * share))


# Settings that may differ where a training is resumed.
MAY_CHANGE = tuple(
  field.name
  for field in dataclasses.fields(TrainingSettings)
  if field.metadata.get("may_change")
)
