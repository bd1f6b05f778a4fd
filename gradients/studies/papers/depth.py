"""What more hidden layers are worth where loops are late: matrices and kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evsim.plots.style import CYCLE

from ..drawing import draw_intervals
from ..equal_size import as_wide, kept_by_delrec
from ..interface import Measured, Point, Study, Work
from ..statistics import beside
from ..tables import Row, Table
from ..trained_networks import common, step_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS = (2, 3, 4)
DENSE, KERNEL = "dense loop", "kernel"
LOOPS = {DENSE: "delrec", KERNEL: "conv-delrec"}
LEARNT, RANDOM, EQUAL = "learnt delays", "random delays", "learnt delays, as many numbers"
NETWORKS = (LEARNT, RANDOM, EQUAL)
_UNITS, _QUICK_UNITS = 48, 24
# Small batches make more steps in the same time, which deep networks need.
_FULL = {"epochs": 10, "recordings": 2000, "batch": 32}
_QUICK = {"epochs": 6, "recordings": 600, "batch": 32}
# Paper D, Table III, SHD, with 256 units in a layer.
_PUBLISHED = {
    (DENSE, 2): "91.72 %", (DENSE, 4): "90.41 %", (KERNEL, 2): "89.32 %", (KERNEL, 4): "91.51 %",
}  # fmt: skip


class Depth(Study):
    """Two to four hidden layers, loops from the second one on, with matrices or kernels.

    Layers are as wide in all networks, or narrower or wider, so that as many numbers are kept as
    in two layers with a matrix.
    """

    name = "depth"
    paper = "D: Table III, 2 to 4 layers"
    title = "what more hidden layers are worth to loops with a matrix or a kernel"
    minutes = 35
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return layers x loops x widths and delays."""
        return [
            {"layers": n, "loop": loop, "network": network}
            for n in (LAYERS[::2] if quick else LAYERS)
            for loop in LOOPS
            for network in NETWORKS
            if (n, loop, network) != (2, DENSE, EQUAL)  # the one that the others are as large as
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, and count its numbers."""
        train = work.parts().train
        units = _QUICK_UNITS if work.quick else _UNITS
        n, loop = point["layers"], point["loop"]
        if point["network"] == EQUAL:
            units = width(units, train.size, len(train.class_names), n, loop)
        method, dt = LOOPS[loop], step_of(train.duration)
        asked = {
            **common(method, work.quick, dt), **(_QUICK if work.quick else _FULL),
            "hidden": (units,) * n, "learn_delays": point["network"] != RANDOM,
        }  # fmt: skip
        trained = work.train(**asked)
        parameters = dict(trained.trainer.model.named_parameters())
        loops = [p.numel() for name, p in parameters.items() if ".recurrent_" in name]
        return {
            "right": trained.right, "n": trained.n, "units": units,
            "numbers": sum(p.numel() for p in parameters.values()), "loop_numbers": sum(loops),
            "train_accuracy": trained.trainer.history[-1]["train_accuracy"],
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the network with random delays; of these and of equal numbers two layers."""
        if point["network"] == LEARNT:
            return {**point, "network": RANDOM}
        if point["network"] == EQUAL:
            return {"layers": 2, "loop": DENSE, "network": LEARNT}
        return None if point["layers"] == 2 else {**point, "layers": 2}

    def published(self, point: Point) -> str | None:
        """Return the accuracy on SHD."""
        if point["network"] != LEARNT:
            return None
        return _PUBLISHED.get((point["loop"], point["layers"]))

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies by layers, a panel for each loop, and by the numbers kept."""
        figure.set_size_inches(11, 4.5)
        several = figure.subplots(1, 3, sharey=True)
        for axes, loop in zip(several, LOOPS, strict=False):
            for k, network in enumerate(NETWORKS):
                rows = table.where(loop=loop, network=network)
                at = [row["layers"] + 0.1 * (k - 1) for row in rows]
                draw_intervals(axes, at, rows, color=CYCLE[k], label=network)
            axes.set_title(loop, fontsize="small")
            axes.set_xticks(sorted({row["layers"] for row in table.rows}))
            axes.set_xlabel("hidden layers")
        for k, (loop, mark) in enumerate(zip(LOOPS, "sD", strict=True)):
            rows = [row for row in table.where(loop=loop) if row["network"] != RANDOM]
            at, look = [row["numbers"] for row in rows], {"color": CYCLE[3 + k], "fmt": mark}
            draw_intervals(several[2], at, rows, **look, label=f"{loop}, with its layers")
            for x, row in zip(at, rows, strict=True):
                place = (x, row["accuracy"])
                several[2].annotate(row["layers"], place, (4, 3), textcoords="offset points")
        labelled = [several[i].get_legend_handles_labels() for i in (0, 2)]
        handles, labels = ([*a, *b] for a, b in zip(*labelled, strict=True))
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
        several[2].set_xlabel("numbers kept")
        several[2].set_title("both, by size", fontsize="small")
        for axes in several[1:]:
            axes.set_ylabel("")

    def verdict(self, table: Table) -> list[str]:
        """Tell what layers and kernels are worth, as they are and at equal numbers."""
        lines = [
            f"{_told(row)}: {row['units']:g} units a layer, {row['numbers']:,.0f} numbers, "
            f"{row['loop_numbers']:,.0f} in loops; {row['train_accuracy']:.0%} right in the last "
            "epoch of training"
            for row in table.rows
        ]
        worth = {}
        for loop in LOOPS:
            for row in table.where(loop=loop, network=LEARNT)[1:]:
                two = table.row(loop=loop, network=LEARNT, layers=2)
                line, worth[loop, row["layers"]] = _beside(row, two)
                lines.append(line)
        for row in table.where(loop=KERNEL, network=LEARNT):
            lines.append(_beside(row, table.row(**{**_settings(row), "loop": DENSE}))[0])
        # The other ones of equal numbers have their control, two layers with a matrix.
        for row in table.where(loop=KERNEL, network=EQUAL)[1:]:
            lines += [
                _beside(row, table.row(**{**_settings(row), **other}))[0]
                for other in ({"layers": 2}, {"loop": DENSE})
            ]
        if table.rows[0]["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        found = f"four layers beside two: {DENSE} {worth[DENSE, 4]}, {KERNEL} {worth[KERNEL, 4]}"
        if (worth[DENSE, 4], worth[KERNEL, 4]) == ("worse", "better"):
            return [*lines, f"as published: {found}"]
        return [*lines, f"differs: because {found}; published: worse by 1.3, better by 2.2 points"]


def width(units: int, n_inputs: int, n_classes: int, layers: int, loop: str) -> int:
    """Return the units of a layer that keep as many numbers as two layers with a matrix.

    Examples
    --------
    >>> width(48, 70, 10, 2, DENSE), width(48, 70, 10, 2, KERNEL), width(48, 70, 10, 4, DENSE)
    (48, 60, 31)
    """
    numbers = kept_by_delrec(n_inputs, [units] * 2, n_classes, "dense")
    kind = "dense" if loop == DENSE else "conv"
    return as_wide(numbers, lambda n: kept_by_delrec(n_inputs, [n] * layers, n_classes, kind))


def _settings(row: Row) -> Point:
    return {name: row[name] for name in ("layers", "loop", "network")}


def _told(row: Row) -> str:
    return f"{row['layers']} layers, {row['loop']}, {row['network']}"


def _beside(row: Row, other: Row) -> tuple[str, str]:
    """Return a line on a row beside another, and what the difference says."""
    found, compared = beside(row, other)
    return f"{_told(row)} beside {_told(other)}: {found}", compared


STUDY = Depth()
