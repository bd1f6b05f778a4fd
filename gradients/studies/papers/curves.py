"""How fast, and how far, networks learn without delays, with axonal and with synaptic ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evsim.plots.style import CYCLE, DARK

from ..drawing import draw_curves
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table
from ..tested_epochs import TestedEpochs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DELAYS = ("none", "axonal", "synaptic")
_PARTS = {"validation_accuracies": "validation accuracy", "test_accuracies": "test accuracy"}
# Paper A, Supplementary Table 1: what its curves of SHD reach.
_PUBLISHED = {"none": "48.60 % (SHD)", "axonal": "90.98 % (SHD)"}


class Curves(Study):
    """Delays none, axonal, synaptic; validated and tested after each epoch.

    The accuracy of a row is that after the last epoch, so that all are compared at equal ones.
    """

    name = "curves"
    paper = "A: Fig 1b"
    title = "how fast and how far networks with delays learn, epoch by epoch"
    minutes = 12
    measured = False
    of_seeds = tuple(_PARTS)

    def points(self, quick: bool) -> list[Point]:
        """Return kinds of delays."""
        return [{"delays": delays} for delays in DELAYS]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train all epochs, and test what is validated after each."""
        tested = TestedEpochs(work.folder / "tested.json", work.parts().test)
        trained = work.train(
            hidden=32 if work.quick else 64, epochs=4 if work.quick else 15, patience=0,
            delay=point["delays"], callbacks=[tested],
        )  # fmt: skip
        history, n = trained.trainer.history, trained.n
        return {
            "right": tested.right[-1], "n": n,
            "test_accuracies": [right / n for right in tested.right],
            "validation_accuracies": [record["validation_accuracy"] for record in history],
            "best_epoch": trained.trainer.best["epoch"], "accuracy_of_best": trained.right / n,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the network without delays."""
        return None if point["delays"] == "none" else {"delays": "none"}

    def published(self, point: Point) -> str | None:
        """Return the paper's accuracy on SHD; it has no synaptic delays."""
        return _PUBLISHED.get(point["delays"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw validation and test accuracy over the epochs, with intervals as bands."""
        for axes, (name, label) in zip(
            figure.subplots(1, 2, sharey=True), _PARTS.items(), strict=True
        ):
            for row, colour in zip(table.rows, (DARK, *CYCLE), strict=False):
                dashed = "--" if row["delays"] == "none" else "-"
                draw_curves(
                    axes, row[f"{name}_of_seeds"], color=colour, linestyle=dashed, marker=".",
                    label=f"{row['delays'].replace('none', 'no')} delays",
                )  # fmt: skip
            axes.set_ylabel(label)
            axes.xaxis.get_major_locator().set_params(integer=True)
        low, high = axes.get_ylim()  # with two seeds bands are far beyond what can be
        axes.set_ylim(max(-0.02, low), min(1.02, high))  # of both
        axes.legend(loc="lower right")

    def verdict(self, table: Table) -> list[str]:
        """Compare each kind of delays with none after every epoch, seed by seed."""
        none, said, lines = table.row(delays="none"), {}, [_reached(row) for row in table.rows]
        for row in table.rows:
            if row is not none:
                worth = list(map(difference, _by_epoch(row), _by_epoch(none)))
                said[row["delays"]] = found = [comparison(one) for one in worth]
                line = (
                    f"{row['delays']} beside none at equal epochs: after the first "
                    f"{in_points(worth[0])} points, after the last {in_points(worth[-1])} points, "
                    f"{found[-1]}"
                )
                if row["seeds"] > 1:  # of one seed no epoch says anything
                    line += (
                        f"; better after {found.count('better')} of {len(found)} epochs, "
                        f"worse after {found.count('worse')}"
                    )
                lines.append(line)
        if none["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        lacking = [kind for kind, found in said.items() if found[-1] != "better"]
        if lacking:
            told = " and ".join(f"{kind} delays ({said[kind][-1]})" for kind in lacking)
            return [*lines, f"differs: because after the last epoch {told} do not beat none"]
        return [*lines, "as published: after the last epoch networks with delays are better"]


def _by_epoch(row: Row) -> list[tuple[float, ...]]:
    """Return test accuracies of all seeds after each epoch."""
    return list(zip(*row["test_accuracies_of_seeds"], strict=True))


def _reached(row: Row) -> str:
    """Tell where a curve ends, and where its validation is best."""
    validated, tested = (row[name][-1] for name in _PARTS)
    return (
        f"{row['delays']}: after {len(row['test_accuracies'])} epochs validated {validated:.1%}, "
        f"tested {tested:.1%}; after the best validated one, on average number "
        f"{row['best_epoch']:.1f}, tested {row['accuracy_of_best']:.1%}"
    )


STUDY = Curves()
