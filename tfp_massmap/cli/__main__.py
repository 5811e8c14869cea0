"""`python -m tfp_massmap.cli` is the command `tfp-massmap`."""

import sys

from tfp_massmap import cli

if __name__ == "__main__":
  sys.exit(cli.main())
