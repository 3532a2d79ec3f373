"""``python -m finch_runtime``."""

import sys

from finch_runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
