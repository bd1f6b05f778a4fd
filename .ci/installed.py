"""Check an installed evsim against the checkout it was built from: nothing is left out.

python .ci/installed.py CHECKOUT      (with the Python that has the installation)
"""

import subprocess
import sys
from pathlib import Path

import evsim

ROOMS = {"evsim": ".", "gradients": "gradients", "datasets": "datasets"}

checkout, installed = Path(sys.argv[1]).resolve(), Path(evsim.__file__).parent.resolve()
assert checkout not in installed.parents, f"{installed} is the checkout itself"
missing = [
    str(path.relative_to(checkout))
    for folder, place in ROOMS.items()
    for path in (checkout / folder).rglob("*")
    if path.is_file() and path.suffix in (".py", ".h5", ".md", ".txt", ".typed")
    if not (installed / place / path.relative_to(checkout / folder)).is_file()
]
assert not missing, f"not installed: {missing}"
command = Path(sys.executable).with_name("evsim")
for name in ("digits-demo.h5", "digits-spikes.h5", "spoken-digits-70.h5"):
    told = subprocess.run([command, "info", name], capture_output=True, text=True, check=True)
    assert name in told.stdout
subprocess.run([sys.executable, "-P", "-c", "import evsim.datasets, evsim.interop"], check=True)
print(f"{installed}: whole")
