"""What the methods of ``evsim train`` differ in: networks, first weights, settings, decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evsim.commands.parts import Parts
from evsim.network import Network
from evsim.train_options import (
    DELREC_BATCH,
    DELREC_EPOCHS,
    DELREC_HIDDEN,
    SLAYER_DT,
    SLAYER_EPOCHS,
    TrainOptions,
    TrainSettings,
)
from evsim.train_rules import ALONE, PUBLISHED, method_of
from evsim.words import count

if TYPE_CHECKING:
    from torch import nn

    from evsim.gradients.training.method import Method

    Made = tuple[nn.Sequential, TrainOptions, Method]

_TAU_OUTPUT = 0.2  # where recordings are long enough [s]
_FIT = 256  # recordings that the first weights are fitted to; on a grid
_FIT_GRID = 64
_CLIPPING = 1.0  # of gradients of loops of one step, which grow beyond all bounds without it
_PIXELS = 784  # of an image, one after the other
_DELREC: dict[str, Any] = {"epochs": DELREC_EPOCHS, "batch": DELREC_BATCH, "hidden": DELREC_HIDDEN}
# What is other than published where no preset is named.
_QUICK: dict[str, dict[str, Any]] = {
    "slayer": {"epochs": SLAYER_EPOCHS, "dt": SLAYER_DT},
    "delrec": _DELREC,
    "conv-delrec": _DELREC,
    "dcls": _DELREC,
}


def with_defaults(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for, with the settings of a published method where nothing is said."""
    from evsim.gradients.methods import recipe

    preset = asked.get("preset")
    published = None if preset is None else recipe(preset)
    method = asked.get("method", "exact" if preset is None else method_of(preset))
    if method == "three-factor" and not asked.get("exact"):
        return _rule_defaults(asked)
    if method not in PUBLISHED:
        return asked
    if method != "slayer" and "fit" in asked:
        raise ValueError(
            f"fit = {asked['fit']}, but first weights of {method} are the published ones: leave it "
            "out"
        )
    published = published or recipe(PUBLISHED[method])
    quick: dict[str, Any] = {} if preset else _QUICK[method]
    dt = asked.get("dt") or quick.get("dt", published.dt)
    usual = {
        "method": method, "dt": dt, "hidden": _one_or_several(published.sizes[1:-1]),
        "epochs": published.epochs, "batch": published.batch, "lr": published.lr,
        "delay_lr": published.delay_lr / published.dt * dt,
        **{name: known[0] for name, known in ALONE[method].items()},
    }  # fmt: skip
    if asked.get("recurrent") == "none" and "none" in ALONE[method]["delay"]:
        usual["delay"] = "none"  # there is no loop that could be late
    if published.longest is not None:
        usual["max_delay"] = published.longest_delay(dt)
    if preset and published.validation:
        usual["validation"] = published.validation
    return {**usual, **quick, **asked}


def _rule_defaults(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for, with the settings of three-factor rules on a grid."""
    from evsim.gradients.methods.by_errors import THREE_FACTOR as published

    if "fit" in asked:
        raise ValueError(
            f"fit = {asked['fit']}, but first weights of three-factor on a grid have one factor "
            "per layer: leave it out, or give exact"
        )
    dt = asked.get("dt") or published.dt
    usual = {
        "dt": dt, "epochs": published.epochs, "batch": published.batch, "lr": published.lr,
        "delay_lr": published.delay_lr / published.dt * dt,
        "max_delay": published.longest_delay(dt), "width": dt,
    }  # fmt: skip
    return {**usual, **asked}


def fitted(s: TrainSettings, parts: Parts) -> tuple[Parts, list[str]]:
    """Return the data as a preset takes them, and lines on what was done.

    Parameters
    ----------
    s : TrainSettings
        What is asked for.
    parts : Parts
        The data.
    """
    from evsim.gradients.methods import recipe

    told = []
    if _one_value(s, parts):
        told.append(
            f"a pixel is one input; its {parts.train.size} bits are a spike each, of units whose "
            "weights are in proportion"
        )
        assert s.dt is not None
        together = round(_PIXELS * s.dt / parts.train.duration)
        if together > 1:
            told.append(
                f"a step of {s.dt:g} s takes {together} pixels at once, their values added: --dt "
                f"{parts.train.duration / _PIXELS:g} takes them one by one"
            )
    elif s.preset is not None:
        wanted, summed, size = recipe(s.preset).sizes[0], recipe(s.preset).summed, parts.train.size
        if summed > 1 and size == wanted * summed:
            parts = parts.summed(summed)
            told.append(f"{summed} neighbouring channels are summed: {size} make {wanted} inputs")
        elif size != wanted:
            told.append(
                f"{s.preset} has {count(wanted, 'input')} as published, here the {size} of the data"
            )
    if s.triples:
        told.append(
            f"an epoch has {3 * len(parts.train):,} recordings: as they are, shifted, blended"
        )
    return parts, told


def _one_value(s: TrainSettings, parts: Parts) -> bool:
    """Whether units tell one input: not if each of their synapses has a delay of its own."""
    return parts.worth is not None and s.scheduled and s.delay != "synaptic"


def _one_or_several(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    return sizes if len(sizes) > 1 else sizes[0]


def make(s: TrainSettings, parts: Parts, new: bool) -> Made:
    """Return an untrained model, options, and how it is trained.

    Parameters
    ----------
    s : TrainSettings
        What is asked for.
    parts : Parts
        The data.
    new : bool
        Whether first weights are fitted to the data; step sizes depend on them.
    """
    if s.by_events:
        return _exact(s, parts, new)
    if s.method == "three-factor":
        model, options, method = _by_rule(s, parts, new)
    else:
        counts = s.method == "slayer"
        model, options, method = _slayer(s, parts, new) if counts else _valued(s, parts)
    try:
        model.to(s.device)
        float(next(model.parameters()).detach().sum())  # of which "meta" has none
        return model, options, method
    except (RuntimeError, AssertionError) as error:  # the latter if torch was built without it
        why = str(error).splitlines()[0].partition(". ")[0]  # behind it torch lists all there are
        raise ValueError(f"device = {s.device}: torch has no such device here: {why}") from error


def _exact(s: TrainSettings, parts: Parts, new: bool) -> Made:
    from evsim.gradients.methods.by_errors import leave_out
    from evsim.gradients.training.method import EXACT
    from evsim.gradients.training.start import delay_model, fit_weights
    from evsim.gradients.training.time_constants import time_learning

    duration = parts.train.duration
    model = delay_model(
        parts.train.size, s.layers, len(parts.train.class_names), s.delay, s.recurrent,
        s.longest_delay(duration), tau_output=min(_TAU_OUTPUT, duration / 4), **_times(s),
        learn=("tau_mem", "tau_syn") if s.learn_tau else (),
    )  # fmt: skip
    _begin_delays(s, model)
    leave_out(model, s.sparse, s.seed)
    if new:
        batch = next(parts.train.batches(_FIT, shuffle=True, seed=s.seed))
        fit_weights(model, batch, per_unit=s.fit == "unit")
    own = time_learning(EXACT) if s.learn_tau else EXACT
    method = own if s.method == "exact" else _rule(s, model)
    return model, TrainOptions(s.epochs, s.batch, s.seed, s.lr, s.delay_lr), method


def _by_rule(s: TrainSettings, parts: Parts, new: bool) -> Made:
    """Return a network of the grid that a three-factor rule trains."""
    from evsim.gradients.methods.by_errors import fit_on_grid, integrating, leave_out

    assert s.dt is not None
    duration = parts.train.duration
    sizes = (parts.train.size, *s.layers, len(parts.train.class_names))
    longest = s.longest_delay(duration)
    model = integrating(sizes, s.dt, longest, s.delay, s.recurrent, **_times(s))
    _begin_delays(s, model)
    leave_out(model, s.sparse, s.seed)
    if new:
        batch = next(parts.train.batches(_FIT_GRID, shuffle=True, seed=s.seed))
        fit_on_grid(model, batch)
    options = TrainOptions(s.epochs, s.batch, s.seed, s.lr, s.delay_lr, wake=0.0)
    return model, options, _rule(s, model)


def _rule(s: TrainSettings, model: nn.Sequential) -> Method:
    from evsim.gradients.methods.by_errors import rule_method

    width = {} if s.width is None else {"width": s.width}
    return rule_method(model, s.every, **width, random=s.random_feedback, seed=s.seed)


def _slayer(s: TrainSettings, parts: Parts, new: bool) -> Made:
    from evsim.gradients.methods.by_counts import counting, slayer_method, wake_layers

    assert s.dt is not None
    sizes = (parts.train.size, *s.layers, len(parts.train.class_names))
    model = counting(sizes, s.dt, s.longest_delay(parts.train.duration), **_times(s))
    _begin_delays(s, model)
    factors = {}
    if new:
        batch = next(parts.train.batches(_FIT_GRID, shuffle=True, seed=s.seed))
        factors = wake_layers(model, batch)
    return model, _as_published(s), slayer_method(s.dt, factors)


def _valued(s: TrainSettings, parts: Parts) -> Made:
    """Return a network of DelRec or of DCLS, which decides by a value per class."""
    from evsim.gradients.methods.by_bits import take_values
    from evsim.gradients.methods.by_values import valued, valued_method
    from evsim.gradients.training.processes import n_processes
    from evsim.gradients.training.start import begin_delays

    assert s.dt is not None
    if n_processes() > 1:
        raise ValueError(
            f"method = {s.method}: its batch norms are of whole batches; train it in one process, "
            "without torchrun"
        )
    duration, one_value = parts.train.duration, _one_value(s, parts)
    sizes = (1 if one_value else parts.train.size, *s.layers, len(parts.train.class_names))
    changes: dict[str, Any] = {"loops": s.recurrent != "none"}
    # Where recordings end in silence there is nothing at the last step, which the published
    # kernels' readout takes, and no gradient.
    readout = s.readout or ("votes" if s.preset is None else None)
    if readout is not None:
        changes["readout"] = readout
    plain = s.delay == "none"  # loops, if there are any, take a step
    longest = max(s.longest_delay(duration), s.dt) if plain else s.longest_delay(duration)
    name = s.preset or PUBLISHED[s.method]
    model, recipe = valued(name, sizes, s.dt, longest, duration, **changes)
    if one_value:
        assert parts.worth is not None
        take_values(model[0], parts.worth)
    model.trimmed = model.trimmed or s.preset is None
    if plain:
        begin_delays(model, s.dt, learn=False)
    else:
        _begin_delays(s, model)
    if plain and s.recurrent != "none":
        recipe = replace(recipe, clipping=_CLIPPING)
    if plain or not s.learn_delays:
        recipe = replace(recipe, sigma=0.0)  # spread for the sake of learning only
    return model, _as_published(s), valued_method(recipe)


def _times(s: TrainSettings) -> dict[str, float]:
    """Return the time constants that were asked for [s]."""
    given = {"tau_mem": s.tau_mem, "tau_syn": s.tau_syn}
    return {name: value for name, value in given.items() if value is not None}


def _as_published(s: TrainSettings) -> TrainOptions:
    """Return options without what evsim adds of its own: waking, averages, a decay."""
    usual = {"lr_decay": 1.0, "wake": 0.0, "average": 0.0}
    return TrainOptions(s.epochs, s.batch, s.seed, s.lr, s.delay_lr, **usual)


def _begin_delays(s: TrainSettings, model: nn.Module) -> None:
    """Give delays their first values, and leave them there if they are not to be trained."""
    from evsim.gradients.training.start import begin_delays

    begin_delays(model, s.first_delay, s.learn_delays)


def on_grid(net: Network, dt: float, method: str = "slayer") -> nn.Sequential:
    """Return the model on a grid of which a network was exported, from `Spikes`.

    Parameters
    ----------
    net : Network
        Of a training with slayer, to counts, or with three-factor, to a value per class.
    dt : float
        Length of a step [s].
    method : str
        Which of them.
    """
    from evsim.gradients.dense import Counting, FromSpikes, from_network

    if method == "three-factor":
        return FromSpikes(*from_network(net, dt))
    layers = from_network(net, dt, delays="floor", refire=True)
    return Counting(*layers, binary=True)
