"""Runs the demo-data builder as `python -m crma_training.demo_data DIR`."""

import sys

from crma_training.demo_data.cli import main

sys.exit(main(sys.argv[1:]))
