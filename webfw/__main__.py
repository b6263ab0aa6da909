"""``python -m webfw``: the same as the ``webfw`` command, and nothing else."""

import sys

from webfw.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
