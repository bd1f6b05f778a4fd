"""What ``evsim check`` does: from a network and a spike file to a report in a folder.

torch and matplotlib are imported when they are needed. The folder is whole or absent.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.arrays import IntArray
from evsim.commands.extras import need_torch
from evsim.files import FileError, SpikeFile, load_network, network_digest
from evsim.files.hdf5 import reason
from evsim.plots import styled
from evsim.spikes import Spikes
from evsim.words import LINE, plain

if TYPE_CHECKING:
    from evsim.gradients.cross_check.records import CrossCheck

REPORT_FILES = ("report.txt", "report.json", "check.png")


def run_check(
    model: str,
    spikes: str,
    dt: Sequence[float] = (),
    trained: str = "exact",
    recordings: int = 200,
    device: str = "cpu",
    output: str | None = None,
    overwrite: bool = False,
    **tolerances: float,
) -> tuple[str, bool]:
    """Compare events with a grid on files, and write a report.

    Parameters
    ----------
    model, spikes : str
        Network and spike file.
    dt, trained, device
        See `evsim.gradients.cross_check.cross_check`, also for what is compared.
    recordings : int
        How many are run at most, evenly spaced over the file.
    output : str or None
        Folder for report.txt, report.json and check.png.
    overwrite : bool
        Whether an earlier report may be replaced.
    **tolerances
        See `evsim.gradients.cross_check.records.Tolerances`.

    Returns
    -------
    str, bool
        The report, and whether all tolerances are kept.

    Raises
    ------
    FileError, FileExistsError, ValueError
        If something is wrong with what was asked for.
    RunawayError
        If a population fires without bound.
    ModuleNotFoundError
        If torch, or for a report matplotlib, is not installed.
    """
    need_torch("the grid")
    from evsim.gradients.cross_check import DT, cross_check
    from evsim.gradients.cross_check.records import Tolerances
    from evsim.gradients.cross_check.report import report_data, report_text

    kept = Tolerances(**tolerances)
    if recordings < 1:
        raise ValueError(f"recordings = {recordings}, must be at least 1")
    if output is not None:
        _check_folder(output, overwrite)
        styled()  # refuses now what would be refused after the work
    net = load_network(model)
    some, chosen, n_all = _read(spikes, recordings, net.populations[net.input].size)
    check = cross_check(net, some, dt or DT, trained, device, chosen, progress=True)
    text = f"{plain(model, LINE)} on {plain(spikes, LINE)}, {len(some):,} of {n_all:,} recordings\n"
    text += report_text(check, kept)
    if output is not None:
        notes: dict[str, Any] = {
            "network_file": os.path.basename(model),
            "network_digest": network_digest(model),
            "spike_file": os.path.basename(spikes),
            "recordings_in_file": n_all,
        }
        _write_folder(output, text, {**notes, **report_data(check, kept)}, check)
        text += f"\nreport in {plain(output, LINE)}: {', '.join(REPORT_FILES)}"
    return text, not check.failures(kept)


def _read(path: str, recordings: int, size: int) -> tuple[Spikes, IntArray, int]:
    """Read recordings evenly spaced over the file; return them, which, and of how many."""
    with SpikeFile(path) as file:
        if not len(file):
            raise ValueError(f"{path}: holds no recordings; there is nothing to check with")
        found_size, duration = file.extent(size if file.size is None else None)
        chosen = np.unique(np.linspace(0, len(file) - 1, recordings).round().astype(np.int64))
        return file.read(found_size, duration, chosen), chosen, len(file)


def _check_folder(output: str, overwrite: bool) -> None:
    """Refuse a folder that can't be written, or that is more than a report."""
    path = Path(output)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise FileError(f"{output}: is no folder; a report needs one of its own")
    if not path.absolute().parent.is_dir():
        raise FileError(f"{output}: the folder {path.absolute().parent} does not exist")
    if not path.exists():
        return
    other = sorted({p.name for p in path.iterdir()} - set(REPORT_FILES))
    if other:
        raise FileExistsError(
            f"{output}: holds {other[0]}, which is not of a report; choose another folder"
        )
    if not overwrite:
        raise FileExistsError(f"{output}: exists already; give --overwrite to replace it")


def _write_folder(output: str, text: str, data: dict[str, Any], check: CrossCheck) -> None:
    """Write the files into a folder of another name, and rename it."""
    from evsim.gradients.cross_check.plots import plot_check
    from evsim.plots import save_figure

    final = Path(output).absolute()
    stem = final.with_name(f".{final.name}.{secrets.token_hex(6)}")
    new, old = stem.with_suffix(".partial"), stem.with_suffix(".old")
    try:
        new.mkdir()
        (new / "report.txt").write_text(text + "\n", encoding="utf-8")
        (new / "report.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        save_figure(new / "check.png", plot_check(check))
        if final.exists():
            final.rename(old)
        new.rename(final)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{output}: can't be written: {reason(error)}") from error
    finally:
        if old.exists() and not final.exists():
            old.rename(final)
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
