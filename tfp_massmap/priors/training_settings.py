"""How a network is trained, checked before it is."""

import dataclasses
import math

from tfp_massmap.priors import training_examples

WEIGHTINGS = ("error", "score")
OPTIMIZERS = ("muon", "adam")
_POSITIVE = (
  "num_steps",
  "batch_size",
  "learning_rate",
  "final_learning_rate",
  "clip_norm",
  "validate_every",
  "num_validation",
  "checkpoint_every",
)  # pyformat: disable

# What may differ where a training goes on.
MAY_CHANGE = (
  "num_steps",
  "learning_rate",
  "final_learning_rate",
  "warmup_steps",
  "validate_every",
  "num_validation",
  "checkpoint_every",
)  # pyformat: disable


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
  """How to train.

  Attributes:
    num_steps: length of the training in batches.
    batch_size, crop: examples of `crop` x `crop` pixels.
    sigma_law: "log_uniform" between `sigma_low` and `sigma_high`, or "half_normal" with
      standard deviation `sigma_high` (the paper's, which has .2; section 5.2).
    weighting: "error" or "score".
    optimizer: "muon" (`nn.muon`) or "adam", for which 1e-3 is a good rate.
    learning_rate, final_learning_rate, warmup_steps: a linear start, then a cosine.
    clip_norm: gradients are scaled down to this global norm.
    gaussian_share: share of the examples that are Gaussian fields of the prior's power,
      for which the residual is to be zero: what is not in the data must not be made up.
    gaussian_weight: their weight in the loss. Share times weight is their share of the
      prior that is learnt: at .1 posteriors are too wide for fields without clusters.
    mixed_precision: whether convolutions compute in bfloat16, which needs no scaling of
      the loss; weights and sums stay float32. Faster on devices that have it.
    averaging: decay per step of the exponential moving average of the weights.
    seed: of examples and first weights.
    validate_every, num_validation: steps between validations, and their examples.
    checkpoint_every: steps between checkpoints.
  """

  num_steps: int = 20000
  batch_size: int = 8
  _: dataclasses.KW_ONLY
  crop: int = 192
  sigma_law: str = "log_uniform"
  sigma_low: float = 0.003
  sigma_high: float = 1.5
  weighting: str = "error"
  optimizer: str = "muon"
  learning_rate: float = 2e-3
  final_learning_rate: float = 1e-5
  warmup_steps: int = 300
  clip_norm: float = 1.0
  gaussian_share: float = 0.1
  gaussian_weight: float = 0.1
  mixed_precision: bool = False
  averaging: float = 0.999
  seed: int = 0
  validate_every: int = 500
  num_validation: int = 32
  checkpoint_every: int = 250

  def __post_init__(self):
    if self.weighting not in WEIGHTINGS:
      raise ValueError(
        f"weighting must be one of {WEIGHTINGS}; got {self.weighting!r}."
      )
    if self.optimizer not in OPTIMIZERS:
      raise ValueError(
        f"optimizer must be one of {OPTIMIZERS}; got {self.optimizer!r}."
      )
    for name in _POSITIVE:
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
    if self.crop < 16 or self.warmup_steps < 0:
      raise ValueError(
        "crop must be at least 16 and warmup_steps not negative; got"
        f" {self.crop} and {self.warmup_steps}."
      )
    for name in ("averaging", "gaussian_share"):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {getattr(self, name)}.")
    if not 0 <= self.gaussian_weight <= 1:
      raise ValueError(
        f"gaussian_weight must lie in [0, 1]; got {self.gaussian_weight}."
      )
    self.make_sigma_law()

  def make_sigma_law(self):
    if self.sigma_law == "log_uniform":
      return training_examples.LogUniformSigma(self.sigma_low, self.sigma_high)
    if self.sigma_law == "half_normal":
      return training_examples.HalfNormalSigma(self.sigma_high)
    raise ValueError(
      f"sigma_law must be 'log_uniform' or 'half_normal'; got {self.sigma_law!r}."
    )

  @property
  def sigma_range(self):
    """Between which sigmas a network is trained: those of nearly all examples."""
    share = 3.0 if self.sigma_law == "half_normal" else 1.0
    return self.sigma_low, share * self.sigma_high

  def rate_at(self, step):
    """Learning rate of a step, a float."""
    if step < self.warmup_steps:
      return self.learning_rate * (step + 1) / self.warmup_steps
    left = max(self.num_steps - self.warmup_steps, 1)
    share = min((step - self.warmup_steps) / left, 1.0)
    change = self.learning_rate - self.final_learning_rate
    return self.final_learning_rate + change * 0.5 * (1 + math.cos(math.pi * share))
