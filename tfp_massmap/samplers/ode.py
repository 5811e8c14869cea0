"""From samples at a small temperature to samples at temperature zero.

The probability-flow ODE (paper Eq. 22 and B.6) with temperature t = sigma^2,

  dx/dt = -1/2 score(x, sqrt(t)),

carries samples of the target smoothed by sigma to samples of the target itself.
"""

import tensorflow as tf
import tensorflow_probability as tfp


def finish(score_fn, x, sigma, rtol=1e-4, atol=1e-5):
  """Integrates the probability-flow ODE from `sigma` to 0.

  Args:
    score_fn: `fn(x, sigma)`, the score of the smoothed target, finite at sigma = 0.
    x: samples at `sigma`, `[..., ny, nx]`.
    sigma: positive scalar.
    rtol, atol: tolerances of `tfp.math.ode.DormandPrince`, `atol` in the units of x.

  Returns:
    `(samples, num_score_evaluations)`: samples at temperature zero, the shape of
    `x`, and the number of evaluations of `score_fn`, int32.
  """
  x = tf.convert_to_tensor(x)
  start = tf.square(tf.convert_to_tensor(sigma, x.dtype))

  # The solver runs forwards, so its time is what has been taken off the temperature.
  def derivative(removed, state):
    temperature = tf.maximum(start - removed, 0)
    return 0.5 * score_fn(state, tf.sqrt(temperature))

  solution = tfp.math.ode.DormandPrince(rtol=rtol, atol=atol).solve(
      derivative, initial_time=tf.zeros_like(start), initial_state=x,
      solution_times=start[tf.newaxis],
  )
  evaluations = solution.diagnostics.num_ode_fn_evaluations
  return tf.ensure_shape(solution.states[0], x.shape), evaluations
