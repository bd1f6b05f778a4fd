"""Settings of a network with a kernel in its loop, searched for by Optuna."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from evsim.merit import merit
from evsim.plots.style import BLUE, CYCLE

from ...methods.by_values import valued_method
from ...training.start import spiking_layers
from ...training.trainer import Diverged
from ..drawing import draw_intervals
from ..grid_networks import on_grid, sizes_of
from ..interface import Change, Measured, Point, Study, Trained, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table
from ..trained_networks import step_of
from ..trials import Range, Record, Settings, best_of, need_optuna, one_more

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OPTUNA, RANDOM = "optuna", "at random"
PUBLISHED, DELREC = "as published", "as published for matrices"
BEST = "best"
SEARCHES, FIXED = (OPTUNA, RANDOM), (PUBLISHED, DELREC)
# Step sizes of delays, tau and sigma are in steps of the grid. The paper tells no ranges.
RANGES = {
    "lr": Range(5e-4, 2e-2, log=True), "delay_lr": Range(5e-3, 0.5, log=True),
    "dropout": Range(0.0, 0.6), "recurrent_dropout": Range(0.0, 0.6),
    "tau": Range(1.02, 3.0, log=True), "sigma": Range(1.0, 20.0, log=True),
    "sigma_decay": Range(0.9, 0.99),
}  # fmt: skip
_TOLD: dict[str, Settings] = {
    # Paper D, Table II, SHD.
    PUBLISHED: {
        "lr": 1.3e-3, "delay_lr": 2.79e-2, "dropout": 0.44, "recurrent_dropout": 0.26,
        "tau": 1.17, "sigma": 10.36, "sigma_decay": 0.971,
    },
    # Paper C, Tables S3 and S4, and its program.
    DELREC: {
        "lr": 5e-3, "delay_lr": 5e-2, "dropout": 0.4, "recurrent_dropout": 0.2,
        "tau": 1.05, "sigma": 10.0, "sigma_decay": 0.95,
    },
}  # fmt: skip
_REPORTED = {
    PUBLISHED: "89.32 +- 1.29 % (SHD, 150 epochs)",
    DELREC: "91.72 +- 0.84 % (SHD, a matrix in the loop, 150 epochs)",
}
_TRIALS, _QUICK_TRIALS = 14, 4
_FIRST, _QUICK_FIRST = 5, 2  # trials that Optuna draws at random, too
_VALIDATION = 0.2  # as published, where the data have no part for it
_ANEW = 1000  # is added to a seed: the best settings get other first weights


class Search(Study):
    """Searches, each of trials in a row; their best settings, trained anew.

    A point is a trial, which needs the one before: Optuna suggests, knowing all trials before
    of the same seed, and its file (``trials.log`` of the trial's folder) is what the next one
    goes on from. Of a trial the validation counts alone. The best of a search, and published
    settings, are trained with other first weights and tested: so each seed is a search of its
    own, and the interval is that of searching, too.
    """

    name = "search"
    paper = "D: Table II"
    title = "whether a search beats published settings and draws"
    minutes = 30
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return trials of each search in their order, then what is tested."""
        need_optuna()
        n = _QUICK_TRIALS if quick else _TRIALS
        trials = [_point(search, k) for k in range(1, n + 1) for search in SEARCHES]
        return [*trials, *(_point(name, BEST, n) for name in (*SEARCHES, *FIXED))]

    def compute(self, point: Point, work: Work) -> Measured:
        """Try settings, or test those that were best."""
        if point["trial"] != BEST:
            return _trial(point, work)
        if point["settings"] in FIXED:
            settings, found = _TOLD[point["settings"]], {}
        else:
            assert work.needed is not None
            settings, record = best_of(work.needed.folder)
            found = {"best_validation": record["validation_accuracy"]}
        try:
            trained = _train(settings, work, work.seed + _ANEW)
        except Diverged:
            n = len(work.parts(sizes_of(work.quick)["recordings"]).test)
            return {"right": 0, "n": n, **found, "validation": 0.0, **settings}
        return {
            "right": trained.right, "n": trained.n, **found,
            "validation": _best(trained)["validation_accuracy"], **settings,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return published settings, of what is tested."""
        tested = point["trial"] == BEST and point["settings"] != PUBLISHED
        return {**point, "settings": PUBLISHED} if tested else None

    def needs(self, point: Point) -> Point | None:
        """Return the trial before, of the best one the last."""
        if point["settings"] in FIXED:
            return None
        before = point["trials"] if point["trial"] == BEST else point["trial"] - 1
        return _point(point["settings"], before) if before else None

    def published(self, point: Point) -> str | None:
        """Return accuracies on SHD."""
        return _REPORTED.get(point["settings"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw the validation of trials, and accuracies of what is tested."""
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
        for search, color in zip(SEARCHES, CYCLE, strict=False):
            _draw_trials(left, [r for r in table.where(settings=search) if _is_trial(r)], color)
        low, high = left.get_ylim()
        left.set_ylim(max(low, -0.03), min(high, 1.03))  # intervals of two seeds are far wider
        left.set_xlabel("trial")
        left.set_ylabel("validation accuracy; line: best so far")
        left.legend()
        rows = table.where(trial=BEST)
        draw_intervals(right, range(len(rows)), rows, color=BLUE)
        names = [row["settings"].replace(" for", "\nfor") for row in rows]
        right.set_xticks(range(len(rows)), names, rotation=30, ha="right")
        right.set_xlim(-0.5, len(rows) - 0.5)
        right.set_ylabel("test accuracy")

    def verdict(self, table: Table) -> list[str]:
        """Compare what the search found with published settings and with draws at random."""
        lines, found = [_trials_of(table, search) for search in SEARCHES], {}
        lines += [_settings_of(row) for row in table.where(trial=BEST)]
        own = table.row(settings=OPTUNA, trial=BEST)
        for name in (RANDOM, *FIXED):
            other = table.row(settings=name, trial=BEST)
            apart = difference(own["accuracy_of_seeds"], other["accuracy_of_seeds"])
            found[name] = comparison(apart)
            lines.append(f"optuna's best beside {name}: {in_points(apart)} points, {found[name]}")
        lines.append(
            f"optuna's best has {own['best_validation']:.1%} of the validation right as it was "
            f"chosen, {own['validation']:.1%} with other first weights, {own['accuracy']:.1%} of "
            "the test"
        )
        if own["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        if found[RANDOM] == "better":
            return [
                *lines,
                "as published: a search is worth more than draws",
            ]
        return [
            *lines,
            f"differs: because beside as many draws: {found[RANDOM]}; beside published settings: "
            f"{found[PUBLISHED]}",
        ]


def _trial(point: Point, work: Work) -> Measured:
    """Try settings that the search suggests."""
    before = None if work.needed is None else work.needed.folder
    first = _QUICK_FIRST if work.quick else _FIRST
    seed = int(work.generator().integers(2**32))
    settings, record = one_more(
        before, RANGES, seed, None if point["settings"] == RANDOM else first,
        lambda settings: _record(settings, work), work.folder,
    )  # fmt: skip
    _, best = best_of(work.folder)
    return {
        "validation": record["validation_accuracy"],
        "best_validation": best["validation_accuracy"], **settings,
    }  # fmt: skip


def _record(settings: Settings, work: Work) -> Record:
    """Return the best epoch with some settings; nothing is right if they let it diverge."""
    try:
        return _best(_train(settings, work, work.seed))
    except Diverged:
        return {"validation_accuracy": 0.0, "validation_loss": inf}


def _train(settings: Settings, work: Work, seed: int) -> Trained:
    sizes, parts = sizes_of(work.quick), work.parts()
    dt = step_of(parts.train.duration)
    return work.train(
        _changed(settings, parts, sizes["hidden"], dt), seed=seed, method="conv-delrec",
        dt=dt, validation=_VALIDATION, lr=settings["lr"], delay_lr=settings["delay_lr"] * dt,
        **sizes,
    )  # fmt: skip


def _changed(settings: Settings, parts: Any, hidden: tuple[int, int], dt: float) -> Change:
    """Return what gives a network settings that are no options of ``evsim train``."""

    def change(model: Any, options: Any, method: Any) -> tuple[Any, Any, Any]:
        made, recipe = on_grid("conv-delrec", parts, hidden, dt, tau=settings["tau"])
        layers: list[Any] = list(spiking_layers(made))
        for layer in layers:
            layer.dropout = settings["dropout"]
            if layer.recurrent is not None:
                layer.recurrent_dropout = settings["recurrent_dropout"]
        recipe = replace(recipe, sigma=settings["sigma"], sigma_decay=settings["sigma_decay"])
        return made, options, valued_method(recipe)

    return change


def _best(trained: Trained) -> Record:
    found: Record = max(trained.trainer.history, key=merit)
    return found


def _point(name: str, trial: int | str, trials: int | None = None) -> Point:
    """Return a trial, or what is tested after so many."""
    return {"settings": name, "trial": trial, "trials": trials}


def _is_trial(row: Row) -> bool:
    return bool(row["trial"] != BEST)


def _draw_trials(axes: Axes, rows: list[Row], color: str) -> None:
    """Draw the validation of a search's trials, means over seeds, and of the best so far."""
    at = [row["trial"] for row in rows]
    shift = 0.12 if color == CYCLE[0] else -0.12
    places = [k + shift for k in at]
    draw_intervals(axes, places, rows, "validation", color=color, label=rows[0]["settings"])
    axes.set_xticks(at)
    axes.step(at, [row["best_validation"] for row in rows], where="mid", color=color)


def _trials_of(table: Table, search: str) -> str:
    """Tell how the trials of a search were validated; the test is none of their business."""
    rows = [row for row in table.where(settings=search) if _is_trial(row)]
    told = ", ".join(f"{row['validation']:.1%}" for row in rows)
    return f"{search}: of the validation {told} are right, trial by trial; means over seeds"


def _settings_of(row: Row) -> str:
    """Tell settings; over several seeds, in the mean."""
    told = ", ".join(f"{name} {row[name]:.3g}" for name in RANGES)
    return f"{row['settings']}: {row['accuracy']:.1%} of the test right; {told}"


STUDY = Search()
