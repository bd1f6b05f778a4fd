"""What ``evsim check`` does: from a network and a spike file to a report in a folder.

torch and matplotlib are imported when they are needed. The folder is whole or absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.arrays import IntArray
from evsim.commands.extras import need_torch
from evsim.commands.networks import read_network
from evsim.files import SpikeFile, network_digest
from evsim.files.whole_folder import WholeFolder
from evsim.plots.style import styled
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
    spike_width: float | None = None,
    loop_delay: float | None = None,
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
    spike_width, loop_delay : float or None
        Of a network in NIR, see `evsim.interop.from_nir` [s].
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
    with ExitStack() as stack:
        if output is not None:  # refuses now what would be refused after the work
            styled()
            folder = stack.enter_context(WholeFolder(output, REPORT_FILES, overwrite))
        net = read_network(model, spike_width=spike_width, loop_delay=loop_delay)
        some, chosen, n_all = _read(spikes, recordings, net.populations[net.input].size)
        check = cross_check(net, some, dt or DT, trained, device, chosen, progress=True)
        text = f"{plain(model, LINE)} on {plain(spikes, LINE)}, {len(some):,} of "
        text += f"{n_all:,} recordings\n{report_text(check, kept)}"
        if output is not None:
            notes: dict[str, Any] = {
                "network_file": os.path.basename(model),
                "network_digest": network_digest(model),
                "spike_file": os.path.basename(spikes),
                "recordings_in_file": n_all,
            }
            _fill(folder, text, {**notes, **report_data(check, kept)}, check)
    if output is not None:
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


def _fill(folder: Path, text: str, data: dict[str, Any], check: CrossCheck) -> None:
    """Write the files of a report."""
    from evsim.gradients.cross_check.plots import plot_check
    from evsim.plots import save_figure

    (folder / "report.txt").write_text(text + "\n", encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    save_figure(folder / "check.png", plot_check(check))
