"""Make the embedded GSC-10 from ten words of Speech Commands' test files.

    python examples/make_gsc10.py speech_commands_test_set_v0.02/ gsc10-70.h5

The first argument is the folder of the published test files, or an HDF5 file of recordings
(see evsim.datasets.sets.speech_commands). The same recordings give the same file.
"""

import sys

from evsim.datasets import make_gsc10

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    make_gsc10(sys.argv[1], sys.argv[2], overwrite=True)
    print(f"spikes in {sys.argv[2]}; to see them: evsim plot {sys.argv[2]} -o words.png")
