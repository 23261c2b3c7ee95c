"""`python -m undertow` is `undertow`."""

import sys

from undertow.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
