"""Let test modules import what they share (`random_networks`) from this folder."""

import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

# Runners in the background ignore SIGINT, and commands that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
