"""`python -m runner` is the same command as `callsheet`."""

import sys

from runner.cli import main

if __name__ == "__main__":
    sys.exit(main())
