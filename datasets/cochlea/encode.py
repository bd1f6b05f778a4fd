"""From sound files to a spike file in SHD layout; `evsim encode` is a thin layer over it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from os import PathLike

import h5py
import numpy as np

from evsim.compiling import watch
from evsim.files.hdf5 import FileError
from evsim.files.new_hdf5 import NewHdf5
from evsim.files.new_spike_files import append_ragged
from evsim.spikes import Spikes
from evsim.terminal import on_terminal
from evsim.version import VERSION
from evsim.words import LINE, count, plain

from .audio import read_audio
from .cochlea import Cochlea

_ENDINGS = (".wav", ".flac")
LABELS: dict[str, Callable[[str], str]] = {
    "folder": lambda path: os.path.basename(os.path.dirname(os.path.abspath(path))),
    "name": lambda path: os.path.basename(path).split(".")[0].split("_")[0],
}


def encode_files(
    paths: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    channels: int = 700,
    constants: str = "article",
    seed: int = 0,
    label_by: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> str:
    """Send sound files through the artificial cochlea of SHD.

    Parameters
    ----------
    paths : sequence of paths
        WAV and FLAC files, in this order; a folder stands for all it holds, folders in it
        included, sorted by name.
    output : path
        Spike file in SHD layout; whole when this returns, absent after an exception.
    channels : int
        Units.
    constants : {"article", "default"}
        See `Cochlea`.
    seed : int
        Recording ``b`` is drawn with the seed ``(seed, b)``.
    label_by : {"folder", "name"} or None
        What the class of a recording is: the name of the folder that holds it, or what
        stands before the first underscore or dot of its own. Classes are numbered in
        alphabetical order; their names are stored in ``/extra/keys``.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : bool
        Whether a run of more than a second shows a bar, if stderr is a terminal.

    Returns
    -------
    str
        A summary for people.

    Raises
    ------
    FileError
        If a file can't be encoded; names it.
    ValueError
        If there are no files, or an argument is out of range.
    FileExistsError
        If the output exists and must not be replaced.
    ModuleNotFoundError
        If soundfile or scipy is not installed.

    Notes
    -----
    Memory is bounded by the longest recording.
    """
    if label_by is not None and label_by not in LABELS:
        raise ValueError(f"label_by = {label_by!r}, must be 'folder', 'name' or None")
    if seed < 0:
        raise ValueError(f"seed = {seed}, must not be negative")
    files = _found(paths)
    cochlea = Cochlea(channels, constants)
    start, compiled = time.perf_counter(), watch.seconds()
    durations, n_spikes = [], 0
    with NewHdf5(output, overwrite) as new:
        with new.writing():
            _write_header(new.h5, cochlea, seed, files)
            classes = None if label_by is None else _write_labels(new.h5, files, label_by)
        for spikes in _encoded(cochlea, files, seed, progress):
            with new.writing():
                append_ragged(new.h5.require_group("spikes"), spikes)
            durations.append(spikes.duration)
            n_spikes += len(spikes.times)
        with new.writing():
            new.h5.attrs["duration"] = max(durations)
    total = sum(durations)
    seconds = time.perf_counter() - start - (watch.seconds() - compiled)
    grouped = "" if classes is None else f" of {len(classes)} classes"
    return (
        f"{count(len(files), 'recording')}{grouped}, the longest {max(durations):.3g} s, "
        f"{count(n_spikes, 'spike')} of {channels} units\n"
        f"encoded {total:.3g} s in {seconds:.3g} s, {total / seconds:.3g} times real time\n"
        f"spikes in {plain(os.fspath(output), LINE)}"
    )


def _found(paths: Sequence[str | PathLike[str]]) -> list[str]:
    """Return the files, with folders replaced by what they hold."""
    files: list[str] = []
    for path in [os.fspath(path) for path in paths]:
        if not os.path.isdir(path):
            files.append(path)
            continue
        inside = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(path)
            for name in names
            if name.lower().endswith(_ENDINGS)
        ]
        if not inside:
            raise ValueError(f"{path}: holds no .wav or .flac files")
        files += sorted(inside)
    if not files:
        raise ValueError("no sound files are given; there is nothing to encode")
    return files


def _write_header(file: h5py.File, cochlea: Cochlea, seed: int, files: list[str]) -> None:
    file.attrs["size"] = cochlea.channels
    file.attrs["encoder"] = "cochlea"
    file.attrs["channels"] = cochlea.channels
    file.attrs["constants"] = cochlea.constants
    file.attrs["seed"] = str(seed)  # it may have more than 64 bits
    file.attrs["evsim_version"] = VERSION
    names = [os.fsencode(path).decode(errors="replace") for path in files]
    file.create_dataset("extra/source", data=names, dtype=h5py.string_dtype())


def _write_labels(file: h5py.File, files: list[str], label_by: str) -> list[str]:
    """Write one class per file and the names of the classes; return these."""
    classes, labels = np.unique([LABELS[label_by](path) for path in files], return_inverse=True)
    names = [os.fsencode(name) for name in classes]
    file["labels"] = labels.astype(np.int64)
    file["extra"]["keys"] = np.array(names, f"S{max(1, *map(len, names))}")
    return list(classes)


def _encoded(cochlea: Cochlea, files: list[str], seed: int, progress: bool) -> Iterator[Spikes]:
    """Yield the spikes of one file after the other, under a progress bar."""
    from tqdm import tqdm

    hidden = not (progress and on_terminal())
    bar = tqdm(files, unit=" recordings", delay=1.0, disable=hidden, leave=False)
    for b, path in enumerate(bar):
        audio, rate = read_audio(path)
        try:
            spikes = cochlea.encode(audio, rate, (seed, b))
        except ValueError as error:
            raise FileError(f"{path}: {error}") from error
        yield spikes
