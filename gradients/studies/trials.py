"""The trials of a search: Optuna suggests settings, knowing all trials before; a file keeps them.

Each trial has a file of its own, that of the trial before and one more, so that a trial that was
cut is begun anew from the same place. Optuna's generator is seeded for each trial alone, hence a
search that goes on suggests what one suggests that was never stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evsim.files import WholeFile
from evsim.merit import merit

FILE = "trials.log"  # a journal of Optuna
_NAME = "search"
_LOSS = "validation_loss"
Settings = dict[str, float]
Record = Mapping[str, float]  # of an epoch, see `evsim.merit`


@dataclass(frozen=True)
class Range:
    """Where a setting is looked for: from ``low`` to ``high``, evenly or in its logarithm."""

    low: float
    high: float
    log: bool = False


def need_optuna() -> Any:
    """Return Optuna, which prints nothing.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the study search needs optuna; install it with: pip install "evsim[study]"'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def one_more(
    before: Path | None,
    ranges: Mapping[str, Range],
    seed: int,
    first: int | None,
    tried: Callable[[Settings], Record],
    folder: Path,
) -> tuple[Settings, Record]:
    """Try settings that Optuna suggests, and keep what came of them.

    Parameters
    ----------
    before : Path or None
        Folder of the trial before; None of the first one.
    ranges : mapping of str to Range
        Where each setting is looked for.
    seed : int
        Of what is drawn in this trial.
    first : int or None
        From which trial on Optuna takes earlier ones into account, counted from 0; with None it
        draws each at random.
    tried : callable
        From settings to the record of their best epoch.
    folder : Path
        Of this trial; it is made by ``tried``.

    Returns
    -------
    dict of str to float, mapping of str to float
        The settings, and what ``tried`` returned.

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed.
    ValueError
        If the file of the trial before is gone.
    """
    samplers = need_optuna().samplers
    sampler = (
        samplers.RandomSampler(seed=seed)
        if first is None
        else samplers.TPESampler(seed=seed, n_startup_trials=first)
    )
    with TemporaryDirectory() as place:
        journal = Path(place) / FILE
        if before is not None:
            shutil.copyfile(_file(before), journal)
        study = _study(journal, sampler)
        trial = study.ask({name: _distribution(one) for name, one in ranges.items()})
        record = tried(dict(trial.params))
        trial.set_user_attr(_LOSS, record[_LOSS])
        study.tell(trial, record["validation_accuracy"])
        with WholeFile(folder / FILE, overwrite=True) as path:
            shutil.copyfile(journal, path)
    return dict(trial.params), record


def best_of(folder: Path) -> tuple[Settings, Record]:
    """Return settings and record of the best trial of those in a folder's file, by validation.

    Of equally accurate ones it is that of less loss.

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed.
    ValueError
        If the file is gone.
    """
    with TemporaryDirectory() as place:  # a journal is locked by a file beside it
        journal = Path(place) / FILE
        shutil.copyfile(_file(folder), journal)
        trials = _study(journal, None).get_trials()
    records = [{"validation_accuracy": one.value, _LOSS: one.user_attrs[_LOSS]} for one in trials]
    best = max(range(len(trials)), key=lambda i: merit(records[i]))
    return dict(trials[best].params), records[best]


def _study(journal: Path, sampler: Any) -> Any:
    optuna = need_optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))), sampler=sampler,
        study_name=_NAME, direction="maximize", load_if_exists=True,
    )  # fmt: skip


def _distribution(one: Range) -> Any:
    return need_optuna().distributions.FloatDistribution(one.low, one.high, log=one.log)


def _file(folder: Path) -> Path:
    if not (folder / FILE).exists():
        raise ValueError(
            f"{folder / FILE} is gone; take the line of that trial out of points.jsonl, too"
        )
    return folder / FILE
