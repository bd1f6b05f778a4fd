"""What ``evsim study`` does: lends trainings and data sets to a study of `evsim.gradients`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from evsim.commands.extras import need_torch
from evsim.commands.parts import open_parts, refuse_unlearnable
from evsim.commands.train import run_training

if TYPE_CHECKING:
    from evsim.gradients.studies import Study

_MINUTES = (
    "Minutes are of three seeds on two cores, ~ where they are estimated from some trainings; with "
    "--quick it is under ten on one."
)


def named(name: str) -> Study:
    """Return the study of a name; see `evsim.gradients.studies.find`."""
    need_torch("a study")
    from evsim.gradients.studies import find

    return find(name)


def listed() -> str:
    """Return the names of all studies, with minutes, paper and figure, and what each asks."""
    need_torch("a study")
    from evsim.gradients.studies import studies
    from evsim.gradients.studies.papers import PAPERS

    rows = [("name", "minutes", "paper: figure or table: what it shows")]
    for one in studies():
        minutes = "?" if one.minutes is None else f"{'' if one.measured else '~'}{one.minutes}"
        rows.append((one.name, minutes, f"{one.paper}: {one.title}"))
    wide = max(len(name) for name, *_ in rows)
    lines = [f"{name:{wide}}  {minutes:>7}  {what}" for name, minutes, what in rows]
    return "\n".join([*lines, "", *(f"{k}: {paper}" for k, paper in PAPERS.items()), "", _MINUTES])


def run_study_on(study: Study, data: str, folder: str, quiet: bool = False, **asked: Any) -> None:
    """Compute a study in a folder, or go on with it, and print how it goes.

    Parameters
    ----------
    study : Study
        Of evsim, or one's own.
    data : str
        See `TrainSettings`.
    folder : str
        For all that is made.
    quiet : bool
        Whether nothing is printed.
    **asked
        See `evsim.gradients.studies.runner.run_study`.

    Raises
    ------
    FileError, FileExistsError, ValueError, ModuleNotFoundError
        If something is wrong with what was asked for, or points failed.
    """
    from evsim.gradients.studies import Tools
    from evsim.gradients.studies.runner import run_study

    refuse_unlearnable(data, open_parts(data))  # now what every point would refuse
    say = _silent if quiet else _say
    report = run_study(study, data, folder, Tools(run_training, open_parts), say=say, **asked)
    say(f"\n{report}")


def _say(line: str) -> None:
    """Print a line at once, above a bar if there is one, into a pipe as well."""
    if sys.stdout is not None:  # closed by the shell
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()


def _silent(line: str) -> None:
    """Print nothing."""
