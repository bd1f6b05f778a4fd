"""Make the embedded spoken digits from the Free Spoken Digit Dataset.

    python examples/make_spoken_digits.py free-spoken-digit-dataset/ evsim/data/spoken-digits-70.h5

The first argument is the project's folder, or an HDF5 file of its recordings (see
evsim.datasets.sets.fsdd). The same recordings give the same file.
"""

import sys

from evsim.datasets import make_spoken_digits

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    make_spoken_digits(sys.argv[1], sys.argv[2], overwrite=True)
    print(f"spikes in {sys.argv[2]}; to see them: evsim plot {sys.argv[2]} -o digits.png")
