"""A penalty on spikes: how few a network needs when it is trained to fire little."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evsim.plots.style import CYCLE

from ..drawing import draw_intervals
from ..exported import network_of
from ..grid_networks import FILE, keep, kept_by, on_grid, sizes_of
from ..interface import Change, Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table
from ..thinning import Thinned, spike_penalty
from ..trained_networks import common, step_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

TRAINED, DELETED = "trained", "deleted at random"
# Of the penalty. The grid's small steps, with the surrogate's gradient, need more of it.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "delrec": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "exact": (1.0, 3.0, 10.0, 30.0, 100.0),
}
NETWORKS = tuple(STRENGTHS)
_QUICK = slice(2, None, 2)  # of them
_OTHER = "unpunished"  # folder in that of a network, with the one without a penalty


class SpikesOfNetworks(Study):
    """Networks trained with a penalty on their spikes, and one without that loses as many.

    DelRec's on the grid (two hidden layers, a loop with learnt delays) and, by exact gradients, a
    hidden layer behind axonal delays. A deleted spike reaches neither the loop nor the next layer,
    while its unit is reset; what is counted are spikes that are left, of hidden units.
    """

    name = "spikes"
    paper = "C, program"
    title = "whether a penalty on spikes saves more of them than deleting does"
    minutes = 20
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return strengths of the penalty, then the same numbers of spikes by deleting."""
        found = []
        for network, all_strengths in STRENGTHS.items():
            strengths = all_strengths[_QUICK] if quick else all_strengths
            found += [_point(network, strength) for strength in (0.0, *strengths)]
            found += [_point(network, strength, DELETED) for strength in strengths]
        return found

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network and count its spikes; or delete those of the one without a penalty."""
        own = _settings(point, work)
        # Spikes are those of the recordings that the training was tested with.
        batch, test = own["batch"], work.parts(own["recordings"]).test
        seed = int(work.generator().integers(2**62))
        if point["spikes"] == DELETED:
            assert work.needed is not None
            wanted = round(work.needed.measured["sent"] * work.needed.measured["n"])
            model = _model(point, work, work.needed.folder / _OTHER)
            right, n, sent = Thinned(model, seed).to(wanted, test, batch)
            return {"right": right, "n": n, "sent": sent / n}
        trained = work.train(_penalised(point, _step(work)), **own)
        keep(trained)
        if work.needed is not None:
            _copy(work.needed.folder, trained.folder / _OTHER)
        model = _model(point, work, trained.folder)
        _, n, sent = Thinned(model, seed).run(test, 1.0, batch)
        return {"right": trained.right, "n": trained.n, "sent": sent / n}

    def control(self, point: Point) -> Point | None:
        """Return the network without a penalty; of deleted spikes, that with as many."""
        if point["spikes"] == DELETED:
            return _point(point["network"], point["strength"])
        return _point(point["network"], 0.0) if point["strength"] else None

    def needs(self, point: Point) -> Point | None:
        """Return the network without a penalty; where spikes are deleted, that with as many."""
        return self.control(point)

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracy by spikes, trained and deleted, a panel for each network."""
        figure.set_size_inches(9, 4.4)
        several = figure.subplots(1, len(NETWORKS), sharey=True)
        for axes, network in zip(several, NETWORKS, strict=True):
            for kind, color in zip((TRAINED, DELETED), CYCLE, strict=False):
                rows = sorted(table.where(network=network, spikes=kind), key=lambda r: r["sent"])
                label = "penalty" if kind == TRAINED else kind
                draw_intervals(
                    axes, [r["sent"] for r in rows], rows, color=color, label=label, fmt="o-"
                )
            axes.set_title(network)
            axes.set_xlabel("hidden spikes of a recording")
            most = max(row["sent"] for row in table.where(network=network))
            axes.set_xlim(0, 1.05 * most or 1.0)
        several[1].set_ylabel("")
        several[0].legend(fontsize="small", loc="lower left")

    def verdict(self, table: Table) -> list[str]:
        """Tell what each penalty saves and costs, and what deleting as many costs more."""
        lines: list[str] = []
        saved: dict[str, float] = {}
        for row in table.where(spikes=TRAINED):
            if not row["strength"]:
                continue
            none = table.row(**_point(row["network"], 0.0))
            gone = table.row(**_point(row["network"], row["strength"], DELETED))
            cost = _beside(row, none)
            gain = _beside(row, gone)
            share = 1 - row["sent"] / none["sent"] if none["sent"] else 0.0
            lines.append(
                f"{row['network']}, strength {row['strength']:g}: {row['sent']:,.0f} spikes, "
                f"{share:.0%} fewer; beside no penalty {in_points(cost)} points, "
                f"{comparison(cost)}; beside as many by deleting ({gone['sent']:,.0f}) "
                f"{in_points(gain)} points, {comparison(gain)}"
            )
            if comparison(cost) in ("no difference seen", "better"):
                if comparison(gain) == "better":
                    saved[row["network"]] = max(share, saved.get(row["network"], 0.0))
        if table.rows[0]["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        if NETWORKS[0] in saved:
            told = ", ".join(f"{share:.0%} of {name}" for name, share in saved.items())
            return [
                *lines,
                f"as published: a penalty saves spikes at no cost that is seen ({told}), where "
                "deleting as many is seen to cost",
            ]
        return [
            *lines,
            "differs: because no penalty on delrec is seen to cost nothing where deleting as many "
            "costs",
        ]


def _beside(row: Row, other: Row) -> Any:
    return difference(row["accuracy_of_seeds"], other["accuracy_of_seeds"])


def _point(network: str, strength: float, spikes: str = TRAINED) -> Point:
    return {"network": network, "strength": strength, "spikes": spikes}


def _settings(point: Point, work: Work) -> dict[str, Any]:
    own = {**common(point["network"], work.quick, _step(work)), **sizes_of(work.quick)}
    if point["network"] == "exact":
        return {**own, "hidden": own["hidden"][0], "delay": "axonal"}
    return own


def _step(work: Work) -> float:
    return step_of(work.parts().train.duration)


def _penalised(point: Point, dt: float) -> Change:
    def change(model: Any, options: Any, method: Any) -> tuple[Any, Any, Any]:
        if point["strength"]:
            penalty = spike_penalty(model, point["strength"], dt)
            method = replace(method, penalty=penalty)
        return model, options, method

    return change


def _copy(folder: Path, into: Path) -> None:
    """Copy a network, so that a point that needs another one finds it there."""
    into.mkdir(exist_ok=True)
    for name in (FILE, "network.h5"):
        shutil.copyfile(folder / name, into / name)


def _model(point: Point, work: Work, folder: Path) -> Any:
    """Return the model that was trained in a folder."""
    if point["network"] == "exact":
        return network_of(folder).to_torch()
    own = _settings(point, work)
    model, _ = on_grid(own["method"], work.parts(), own["hidden"], own["dt"])
    model.load_state_dict(kept_by(folder))
    return model


STUDY = SpikesOfNetworks()
