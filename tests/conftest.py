"""Let test modules import what they share (`random_networks`) from this folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
