"""`python -m celeriac.cli`: the command line where there is no console script."""

import sys

from celeriac.cli import main

if __name__ == "__main__":
    sys.exit(main())
