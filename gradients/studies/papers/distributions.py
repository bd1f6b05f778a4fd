"""How weights and delays are spread while a network is trained, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plots.style import BLUE, GREEN, GREY, ORANGE

from ..drawing import draw_intervals
from ..exported import BINS, histogram
from ..interface import Measured, Point, Study, Work
from ..snapshots import Snapshots, network_after
from ..statistics import Spread, comparison, difference, over_seeds
from ..tables import Row, Table
from ..trained_networks import common

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evsim.projections import Projection

EXACT, LOOP, KERNEL = "exact", "loop", "kernel"
_METHODS = {EXACT: "exact", LOOP: "delrec", KERNEL: "conv-delrec"}
# As in paper D: two layers with a loop of all to all, four with kernels, the first without.
LAYERS = {
    EXACT: ("input->hidden1", "hidden1->hidden2", "hidden2->readout"),
    LOOP: ("hidden2->hidden2",),
    KERNEL: ("hidden2->hidden2", "hidden3->hidden3", "hidden4->hidden4"),
}
EPOCHS: dict[str, tuple[int, ...]] = {
    EXACT: (0, 1, 3, 10),
    LOOP: (0, 2, 8, 20),
    KERNEL: (0, 2, 8, 20),
}
_QUICK_EPOCHS = (0, 1, 4)
COLOURS = (ORANGE, GREEN, BLUE)  # of epochs, the last one blue
_WIDE = 4.0  # of histograms of weights [root mean squares]
_LONG = 60  # of those of loops' delays [steps]
_PUBLISHED = {
    (LOOP, "hidden2->hidden2"): "20.78, deviation 7.67, 5 to 41 steps of 10 ms (SHD)",
    (KERNEL, "hidden2->hidden2"): "21.13, deviation 12.17, 0 to 62 steps of 10 ms (SHD)",
    (KERNEL, "hidden3->hidden3"): "21.90, deviation 12.98, 0 to 72 steps of 10 ms (SHD)",
    (KERNEL, "hidden4->hidden4"): "18.74, deviation 10.24, 0 to 43 steps of 10 ms (SHD)",
}


class Distributions(Study):
    """Layers x epochs of an exact network with axonal delays and of DelRec's loops."""

    name = "distributions"
    paper = "A: Suppl Fig 1; D: Table IV"
    title = "how weights and delays are spread while a network is trained"
    minutes = 10
    measured = False
    measure = "deviation_ms"

    def points(self, quick: bool) -> list[Point]:
        """Return epochs, of how many, of each layer; after 0 there are first values."""
        return [
            {"network": network, "layer": layer, "epoch": epoch, "epochs": looked_at[-1]}
            for network, looked_at in _looked_at(quick).items()
            for layer in LAYERS[network]
            for epoch in looked_at
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network and keep it after some epochs, or look at what was kept."""
        settings, duration = _settings(point, work.quick), work.parts().train.duration
        found: Measured = {}
        if work.needed is None:
            kept = Snapshots(work.folder, _looked_at(work.quick)[point["network"]])
            trained = work.train(callbacks=[kept], **settings)
            found = {"right": trained.right, "n": trained.n}
        folder = work.folder if work.needed is None else work.needed.folder
        first, now = (
            network_after(folder, epoch).projections[point["layer"]]
            for epoch in (0, point["epoch"])
        )
        longest = work.longest_delay()
        if "dt" in settings:
            longest = min(_LONG * settings["dt"], duration)
        return {**found, **of_weights(now), **of_delays(first, now, longest)}

    def control(self, point: Point) -> Point | None:
        """Return the same layer with its first values."""
        return {**point, "epoch": 0} if point["epoch"] else None

    def needs(self, point: Point) -> Point | None:
        """Return the last epoch of the network's first layer, which trains it."""
        last = {**point, "layer": LAYERS[point["network"]][0], "epoch": point["epochs"]}
        return None if last == point else last

    def published(self, point: Point) -> str | None:
        """Return paper D's mean, deviation and range, beyond the step that a loop takes."""
        if point["epoch"] < point["epochs"]:
            return None
        return _PUBLISHED.get((point["network"], point["layer"]))

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw a column for each layer: weights, delays, and how these move."""
        layers = [(network, layer) for network in LAYERS for layer in LAYERS[network]]
        figure.set_size_inches(2.3 * len(layers), 7.5)
        panels = figure.subplots(3, len(layers), squeeze=False)
        for column, (network, layer) in zip(panels.T, layers, strict=True):
            rows = table.where(network=network, layer=layer)
            column[0].set_title(_named(network, layer), fontsize="small")
            for k, row in enumerate(rows):
                _draw_shares(column[:2], row, None if k == 0 else COLOURS[k - len(rows)])
            column[0].set_ylim(0, 1.4 * max(max(row["weights_histogram"]) for row in rows))
            column[0].legend(fontsize="x-small", title="epoch", title_fontsize="x-small", ncols=2)
            if rows[0].get("mean_ms") is not None:
                _draw_course(column[2], rows)
        (alone,) = (k for k, (_, layer) in enumerate(layers) if layer.endswith("readout"))
        for axes in panels[1:, alone]:
            axes.axis("off")
        shown = panels[2, 0].get_legend_handles_labels()
        panels[2, alone].legend(*shown, title="delays of a layer", loc="center", fontsize="small")
        panels[0, 0].set_ylabel("share of weights")
        panels[1, 0].set_ylabel("share of delays")
        panels[2, 0].set_ylabel("delay [ms]")

    def verdict(self, table: Table) -> list[str]:
        """Tell how delays move from first values, and whether kernels spread them more."""
        lines = [
            "better means that delays are spread more than at first; delays of loops are whole "
            "times, with the step that a loop takes"
        ]
        lines += [_moves(row) for row in table.rows if _is_last(row)]
        loop = next(row for row in table.where(network=LOOP) if _is_last(row))
        found = []
        for row in filter(_is_last, table.where(network=KERNEL)):
            wider = difference(row["deviation_ms_of_seeds"], loop["deviation_ms_of_seeds"])
            found.append(comparison(wider))
            lines.append(
                f"{_named(KERNEL, row['layer'])}: delays are spread by "
                f"{row['deviation_ms']:.1f} ms, those of a dense loop by "
                f"{loop['deviation_ms']:.1f}, difference {_in_ms(wider)}: {found[-1]}"
            )
        if "one seed" in found:
            return [*lines, "differs: because one seed has no interval"]
        told = f"{found.count('better')} of {len(found)} kernels are seen to spread delays more"
        if set(found) == {"better"}:
            return [*lines, f"as published: {told}"]
        return [*lines, f"differs: because {told}"]


def of_weights(now: Projection) -> Measured:
    """Return deviation and histogram of weights, the latter beside their root mean square."""
    weights = now.weights.ravel()
    root = float(np.sqrt(np.mean(weights**2)))
    shares = np.clip(weights / (root or 1.0), -_WIDE, _WIDE)
    return {
        "mean_weight": float(weights.mean()), "deviation_of_weights": float(weights.std()),
        "weights_histogram": histogram(shares, -_WIDE, _WIDE),
    }  # fmt: skip


def of_delays(first: Projection, now: Projection, longest: float) -> Measured:
    """Return numbers on delays [ms], and how they differ from first ones; nothing without any.

    Parameters
    ----------
    first, now : Projection
        With first values, and those that are asked for.
    longest : float
        Where the histogram ends [s]; what is longer stands in its last bin.
    """
    if now.axonal_delay is None or not now.axonal_delay.ndim:
        return {}
    before, late = 1e3 * first.axonal(now.axonal_delay.size), 1e3 * now.axonal_delay
    longest *= 1e3
    return {
        "mean_ms": float(late.mean()), "deviation_ms": float(late.std()),
        "smallest_ms": float(late.min()), "largest_ms": float(late.max()),
        "longer_ms": float(late.mean() - before.mean()),
        "moved_ms": float(np.abs(late - before).mean()),
        "delays_histogram": histogram(np.minimum(late, longest), 0.0, longest),
        "histogram_to_ms": longest,
    }  # fmt: skip


def _looked_at(quick: bool) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(LAYERS, _QUICK_EPOCHS) if quick else EPOCHS


def _settings(point: Point, quick: bool) -> dict[str, Any]:
    found = common(_METHODS[point["network"]], quick)
    if point["network"] == KERNEL:
        found["hidden"] = found["hidden"] * 2
    if point["network"] == EXACT:
        found["delay"] = "axonal"
    return {**found, "epochs": point["epochs"]}


def _is_last(row: Row) -> bool:
    return row["epoch"] == row["epochs"] and row.get("mean_ms") is not None


def _named(network: str, layer: str) -> str:
    """Return a layer's name.

    Examples
    --------
    >>> _named("kernel", "hidden2->hidden2"), _named("exact", "input->hidden1")
    ('kernel of hidden2', 'exact, input to hidden1')
    """
    pre, _, post = layer.partition("->")
    return f"{network} of {pre}" if pre == post else f"{network}, {pre} to {post}"


def _in_ms(found: Spread) -> str:
    interval = "" if np.isnan(found.low) else f" ({found.low:.1f} to {found.high:.1f})"
    return f"{found.mean:.1f}{interval} ms"


def _moves(row: Row) -> str:
    """Tell delays of a layer after the last epoch, beside their first values."""
    longer = over_seeds(row, "longer_ms")
    how = {"better": "longer", "worse": "shorter"}
    compared = comparison(longer)
    return (
        f"{_named(row['network'], row['layer'])}: delays of {row['mean_ms']:.1f} ms, deviation "
        f"{row['deviation_ms']:.1f}, {row['smallest_ms']:.1f} to {row['largest_ms']:.1f}; moved by "
        f"{row['moved_ms']:.1f} ms each, their mean by {_in_ms(longer)}: "
        f"{how.get(compared, compared)}"
    )


def _draw_shares(panels: Any, row: Row, colour: str | None) -> None:
    """Draw histograms of weights and delays after an epoch; without a colour as a background."""
    look = {"color": colour, "fill": False}
    if colour is None:
        look = {"color": GREY, "fill": True}
    edges = np.linspace(-_WIDE, _WIDE, BINS + 1)
    panels[0].stairs(row["weights_histogram"], edges, label=f"{row['epoch']}", **look)
    panels[0].set_xlabel("weight / r. m. s.")
    if row.get("delays_histogram") is not None:
        edges = np.linspace(0.0, row["histogram_to_ms"], BINS + 1)
        panels[1].stairs(row["delays_histogram"], edges, **look)
        panels[1].set_xlabel("delay [ms]")


def _draw_course(axes: Axes, rows: list[Row]) -> None:
    """Draw mean and deviation of delays over epochs, between the smallest and the largest."""
    epochs = [row["epoch"] for row in rows]
    axes.fill_between(
        epochs, [row["smallest_ms"] for row in rows], [row["largest_ms"] for row in rows],
        color=GREY, alpha=0.4, label="smallest to largest",
    )  # fmt: skip
    draw_intervals(axes, epochs, rows, "mean_ms", color=BLUE, label="mean", fmt="o-")
    draw_intervals(axes, epochs, rows, "deviation_ms", color=ORANGE, label="deviation", fmt="s-")
    axes.set(xlabel="epoch", ylabel="", ylim=(0, None))


STUDY = Distributions()
