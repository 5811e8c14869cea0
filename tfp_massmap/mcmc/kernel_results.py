"""Fields of nested kernel results.

TFP's wrappers (adaptations, `TransformedTransitionKernel`, `WithReductions`) each return
a named tuple of their own, with the results of the inner kernel as `inner_results`.
"""

import typing

import tensorflow as tf


@typing.runtime_checkable
class _NamedTuple(typing.Protocol):
  def _asdict(self) -> dict[str, typing.Any]: ...


def fields(results: typing.Any) -> dict[str, typing.Any]:
  """Returns the fields of kernel results by name, empty if they are no named tuple."""
  return results._asdict() if isinstance(results, _NamedTuple) else {}


def find(results: typing.Any, name: str) -> typing.Any:
  """Returns the outermost field `name` of nested kernel results, or None."""
  here = fields(results)
  if name in here or "inner_results" not in here:
    return here.get(name)
  return find(here["inner_results"], name)


def num_score_evaluations(results: typing.Any) -> tf.Tensor:
  """Returns the score evaluations counted by kernel results, 0 if none were counted."""
  count = find(results, "num_score_evaluations")
  return tf.constant(0, tf.int32) if count is None else count


def with_num_score_evaluations(results: typing.Any, count: tf.Tensor) -> typing.Any:
  """Returns the same results with another count, also in those of the inner kernel."""
  if "num_score_evaluations" not in fields(results):
    return results
  changes = {"num_score_evaluations": count}
  for name in ("accepted_results", "proposed_results"):
    nested: typing.Any = fields(results).get(name)
    if "num_score_evaluations" in fields(nested):
      changes[name] = nested._replace(num_score_evaluations=count)
  return results._replace(**changes)
