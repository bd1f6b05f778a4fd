"""evsim works where people stand: in the checkout and elsewhere, installed in either way."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evsim

pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent
ROOMS = """
from evsim import datasets, gradients, interop, reference
import evsim
print(*(room.__file__ for room in (evsim, datasets, gradients, interop, reference)), sep="\\n")
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A checkout, what a plain install makes of it, and somebody else's ``datasets``."""
    folder = tmp_path_factory.mktemp("places")
    checkout, site, other = (folder / name for name in ("checkout", "site", "other"))
    for place in (checkout, site / "evsim", other / "datasets", folder / "elsewhere"):
        place.mkdir(parents=True)
    for name in ("evsim", "gradients", "datasets", "setup.cfg"):
        (checkout / name).symlink_to(ROOT / name)
    for path in [*(ROOT / "evsim").iterdir(), ROOT / "gradients", ROOT / "datasets"]:
        if path.name != "__pycache__":
            (site / "evsim" / path.name).symlink_to(path)
    (other / "datasets" / "__init__.py").write_text("")
    return folder


def run(places, place, *words, path=("site",)):
    environment = dict(os.environ)
    environment.pop("PYTHONSAFEPATH", None)
    # The cache of kernels is told by the place of their source: nothing is compiled here.
    environment["NUMBA_DISABLE_JIT"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(str(places / name) for name in path)
    done = subprocess.run(
        [sys.executable, *words], cwd=places / place, env=environment, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("place", "found", "way"),
    [("checkout", "checkout", "-c"), ("checkout", "checkout", "file"), ("elsewhere", "site", "-c")],
)
def test_all_rooms_are_those_of_one_place(places, place, found, way):
    words = ["-c", ROOMS]
    if way == "file":
        (places / place / "mine.py").write_text(ROOMS)
        words = ["mine.py"]
    files = run(places, place, *words).split()
    assert len(files) == 5
    assert all(file.startswith(f"{places / found}{os.sep}") for file in files), files


@pytest.mark.parametrize("place", ["checkout", "elsewhere"])
def test_the_module_trains(places, place):
    rng = np.random.default_rng(0)
    spikes = [(np.sort(rng.uniform(0.01, 0.05, 3)), rng.integers(0, 3, 3)) for _ in range(20)]
    spikes = evsim.Spikes.from_recordings(spikes, 3, 0.1, np.arange(20) % 2)
    evsim.save_spikes(places / place / "own.h5", spikes, overwrite=True)
    words = ("-m", "evsim", "train", "own.h5", "-o", "RUN", "--epochs", "1", "--hidden", "2")
    assert "test accuracy" in run(places, place, *words)
    assert (places / place / "RUN" / "network.h5").is_file()


def test_elsewhere_datasets_is_whose_it_is(places):
    code = "import evsim.datasets, datasets; print(datasets.__file__)"
    told = run(places, "elsewhere", "-c", code, path=("site", "other"))
    assert told.strip() == str(places / "other" / "datasets" / "__init__.py")


def test_as_it_is_installed_here_too(tmp_path):
    for place in (ROOT, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", ROOMS], cwd=place, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert len({Path(file).parts[:3] for file in done.stdout.split()}) == 1


@pytest.mark.parametrize("name", ["ragged", "heaps", "words"])
def test_what_is_listed_is_public(name):
    assert name not in dir(evsim)
    assert {"Spikes", "gradients", "interop", "__version__"} <= set(dir(evsim))
    for public in (evsim, evsim.gradients, evsim.datasets):
        assert all(getattr(public, listed) is not None for listed in dir(public))
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = evsim.simulat
