"""`python -m lib.cli` is `lstm-forecast`."""

import sys

from lib.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
