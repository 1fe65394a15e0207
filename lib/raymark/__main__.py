"""``python -m raymark`` is the command line."""

import sys

from raymark.cli import main

sys.exit(main())
