"""What the order of the units is worth to a kernel, whose units see their neighbours."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any

import torch

from evsim.plots.style import BLUE, ORANGE
from evsim.words import count

from ...delays import keep_delays
from ...training.start import spiking_layers
from ...training.trainer import score, used
from ..drawing import draw_intervals
from ..grid_networks import keep, kept_by, on_grid, sizes_of
from ..interface import Change, Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table
from ..trained_networks import common, step_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    State = dict[str, torch.Tensor]

METHODS = {"kernel": "conv-delrec", "matrix": "delrec"}
ALL, NEAR = "all", "near"
START, AFTER, ON = "from the start", "afterwards", "trained on"
KEPT, PERMUTED = "kept", "permuted"
_DRAWS, _QUICK_DRAWS = 3, 1  # what is not trained again has all of them
_LAYER, _NEXT = "hidden2", "readout"  # the layer with the loop, and the one behind it
_REACH = 0.125  # of near inputs, as a share of the units before


class Permuted(Study):
    """Units of the layer with the loop in another order, while the loop stays where it is.

    The units take along all that is theirs: weights of their input, norm, delay of their loop, and
    the weights behind them. A kernel stays, so that its units get other neighbours; a matrix goes
    along, which changes nothing but the order of sums. That is done with a network that was
    trained (``afterwards``), which is trained on or not, and with first weights (``from the
    start``).

    In the published network, whose inputs reach all units, no unit is anybody's neighbour before
    the training: another order at the start is another draw. The premise, that neighbours tell of
    similar things, is true of ``near`` inputs: units along the channels, each with synapses from an
    eighth of the units before to either side, layer by layer. There, too, units that are permuted
    take their inputs along.
    """

    name = "permuted"
    paper = "D, premise of a kernel"
    title = "what the order of the units is worth to a kernel"
    minutes = 25
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return networks as they are, then their permutations."""
        cases = [(ALL, START), (ALL, AFTER), (ALL, ON), (NEAR, START), (NEAR, AFTER)]
        found = []
        for loop in METHODS:
            for inputs, when in cases:
                found += [] if when == AFTER else [_point(loop, inputs, when)]
                n = _QUICK_DRAWS if quick and when != AFTER else _DRAWS
                found += [_point(loop, inputs, when, draw) for draw in range(1, n + 1)]
        return found

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, in whichever order; or put a trained one in another order."""
        order = _order(point, work)
        if point["when"] == AFTER:
            return _afterwards(point, work, order)
        trained = work.train(_changed(point, work, order), **_settings(point, work))
        keep(trained)
        return {"right": trained.right, "n": trained.n}

    def control(self, point: Point) -> Point | None:
        """Return the same in the order that was; of it, what was before it was trained on."""
        loop, inputs, when = point["loop"], point["inputs"], point["when"]
        if point["order"] == PERMUTED:
            return _point(loop, inputs, START if when == AFTER else when)
        if when == ON:
            return _point(loop, inputs, START)
        return _point("matrix", inputs, START) if loop == "kernel" else None

    def needs(self, point: Point) -> Point | None:
        """Return the network that was trained before."""
        if point["when"] == START:
            return None
        return _point(point["loop"], point["inputs"], START)

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, those of the order that was beside the permutations'."""
        figure.set_size_inches(9, 4.8)
        several = figure.subplots(1, 2, sharey=True)
        for axes, loop in zip(several, METHODS, strict=True):
            cases = _cases(table, loop)
            for at, (inputs, when) in enumerate(cases):
                rows = table.where(loop=loop, inputs=inputs, when=when, order=PERMUTED)
                own = table.row(**_point(loop, inputs, START if when == AFTER else when))
                places = [at + 0.15 * row["draw"] for row in rows]
                labels = ("in the order that was", "permuted") if at == 0 else (None, None)
                draw_intervals(axes, [at - 0.1], [own], color=BLUE, label=labels[0])
                draw_intervals(axes, places, rows, color=ORANGE, label=labels[1])
            names = [f"{when},\n{inputs} inputs" for inputs, when in cases]
            axes.set_xticks(range(len(cases)), names, rotation=40, ha="right")
            axes.set_title(loop)
        several[1].set_ylabel("")
        several[0].legend(loc="lower left", fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell what an order is worth, and that a matrix does not care."""
        lines, found = [], {}
        for loop in METHODS:
            for inputs, when in _cases(table, loop):
                rows = table.where(loop=loop, inputs=inputs, when=when, order=PERMUTED)
                own = table.row(**_point(loop, inputs, START if when == AFTER else when))
                worth = difference(own["accuracy_of_seeds"], _means(rows))
                found[loop, inputs, when] = comparison(worth)
                lines.append(
                    f"{loop}, {inputs} inputs, {when}: the order that was beside "
                    f"{count(len(rows), 'permutation')}: {in_points(worth)} points, "
                    f"{comparison(worth)}"
                )
        same = table.where(loop="matrix", when=AFTER)
        most = max(row["largest_difference"] for row in same)
        apart = max(row["decisions_apart"] for row in same)
        lines.append(
            f"a matrix that goes along: outputs differ by {most:.1e} at most, {apart:g} decisions "
            "of a test in the mean over seeds"
        )
        told = found["kernel", ALL, START]
        if told == "better":
            return [*lines, "as published: neighbours are worth something to a kernel"]
        if told == "one seed":
            return [*lines, "differs: because one seed has no interval"]
        return [
            *lines,
            f"differs: because units that all inputs reach have no order to begin with: {told}; "
            f"with near inputs, where the premise is true: {found['kernel', NEAR, START]}",
        ]


def reordered(state: State, order: torch.Tensor) -> State:
    """Return parameters of a network whose units with the loop stand in another order.

    Parameters
    ----------
    state : dict of str to tensor
        Of the model.
    order : integer tensor [unit]
        Which unit comes to each place.

    Returns
    -------
    dict of str to tensor
        A matrix of the loop is in the new order, too, a kernel is as it was.
    """
    found = {}
    for name, value in state.items():
        layer, _, what = name.partition(".")
        if layer == _LAYER and what == "recurrent_weight":
            value = value[order][:, order] if value.ndim == 2 else value
        elif layer == _LAYER and value.ndim and len(value) == len(order):
            value = value[order]
        elif layer == _NEXT and what == "weight":
            value = value[:, order]
        found[name] = value.clone()
    return found


def near(n_post: int, n_pre: int) -> torch.Tensor:
    """Return which units [post, pre] are near: an eighth to either side, one at least.

    Examples
    --------
    >>> near(2, 4).int()
    tensor([[1, 1, 0, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    post, pre = ((torch.arange(n) + 0.5) / n for n in (n_post, n_pre))
    apart = (post[:, None] - pre).abs()
    least = apart.min(dim=1, keepdim=True).values
    return apart <= torch.clamp(least, min=_REACH) + 1e-6


def _point(loop: str, inputs: str, when: str, draw: int = 0) -> Point:
    """Return a point; with draw 0 its order is kept."""
    order = PERMUTED if draw else KEPT
    return {"loop": loop, "inputs": inputs, "when": when, "order": order, "draw": draw}


def _settings(point: Point, work: Work) -> dict[str, Any]:
    dt = step_of(work.parts().train.duration)
    return {**common(METHODS[point["loop"]], work.quick, dt), **sizes_of(work.quick)}


def _order(point: Point, work: Work) -> torch.Tensor:
    """Return which unit comes to each place."""
    n = sizes_of(work.quick)["hidden"][1]
    if point["order"] == KEPT:
        return torch.arange(n)
    return torch.as_tensor(work.generator().permutation(n))


def _changed(point: Point, work: Work, order: torch.Tensor) -> Change:
    """Return what puts the first units, or trained ones, in an order."""

    def change(model: Any, options: Any, method: Any) -> tuple[Any, Any, Any]:
        _leave_out(model, point)
        state = model.state_dict() if work.needed is None else kept_by(work.needed.folder)
        model.load_state_dict(reordered(state, order))
        return model, options, method

    return change


def _leave_out(model: Any, point: Point) -> None:
    """Leave out synapses from what is not near."""
    if point["inputs"] == NEAR:
        for layer in model[:-1]:
            layer.mask = near(layer.out_features, layer.in_features)


def _afterwards(point: Point, work: Work, order: torch.Tensor) -> Measured:
    """Return decisions of a trained network in another order, beside those in its own."""
    assert work.needed is not None
    own, models = _settings(point, work), []
    # The recordings that the training was tested with.
    parts, state = work.parts(own["recordings"]), kept_by(work.needed.folder)
    for parameters in (state, reordered(state, order)):
        model, _ = on_grid(own["method"], parts, own["hidden"], own["dt"])
        _leave_out(model, point)
        model.load_state_dict(parameters)
        models.append(model)
    # In batches of the training: how long a batch is depends on its recordings.
    tested = score(models[1], parts.test, own["batch"])
    one, other = (_values(model.double(), parts.test, own["batch"]) for model in models)
    return {
        "right": tested.right, "n": tested.n,
        "largest_difference": float((one - other).abs().max()),
        "decisions_apart": int((one.argmax(1) != other.argmax(1)).sum()),
    }  # fmt: skip


@torch.no_grad()
def _values(model: Any, test: Any, batch: int) -> torch.Tensor:
    """Return the values of all classes, [recording, class]."""
    for layer in spiking_layers(model):
        keep_delays(layer)  # the longest was rounded up, perhaps, in fewer digits
    with used(model):
        return torch.cat([model(spikes) for spikes in test.batches(batch)])


def _cases(table: Table, loop: str) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["inputs"], row["when"]) for row in table.where(loop=loop)))


def _means(rows: list[Row]) -> list[float]:
    """Return the accuracy of each seed, its mean over permutations."""
    return [
        mean(values) for values in zip(*(row["accuracy_of_seeds"] for row in rows), strict=True)
    ]


STUDY = Permuted()
