"""Maps made in several processes."""

import subprocess
import sys

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import simulate

SMALL = geometry.PixelGrid((48, 40), 1 * u.arcmin)


def test_processes_make_the_same_maps(capsys):
  simulator = simulate.ConvergenceSimulator(
    SMALL, seed=5, mode="fast", power=lambda ell: 1e-9 / (1 + ell / 1e3)
  )
  alone = list(simulator.maps(3))
  together = list(simulator.maps(3, num_processes=2, progress=True))
  np.testing.assert_array_equal(alone, together)
  assert "3/3" in capsys.readouterr().err


def test_scripts_that_start_themselves_anew_end(tmp_path):
  """A process imports the script that it was started by, which here starts one."""
  script = tmp_path / "script.py"
  script.write_text(
    "from astropy import units as u\n"
    "from tfp_massmap import geometry, simulate\n"
    "grid = geometry.PixelGrid((32, 32), 2 * u.arcmin)\n"
    "simulator = simulate.ConvergenceSimulator(grid, mode='fast')\n"
    "list(simulator.maps(3, num_processes=2))\n",
    encoding="utf-8",
  )
  ended = subprocess.run(
    [sys.executable, str(script)],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert ended.returncode and "under `if __name__ ==" in ended.stderr
