"""`python -m codec`, and `torchrun -m codec train ...`."""

import sys

from codec.cli import main

if __name__ == "__main__":
    sys.exit(main())
