"""What ``evsim train`` tells when a training has ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evsim.bits import FULL
from evsim.commands.parts import Parts
from evsim.commands.train_methods import on_grid
from evsim.errors import RunawayError
from evsim.network import Network
from evsim.train_options import LACKING, TrainSettings
from evsim.words import LINE, count, plain

if TYPE_CHECKING:
    from torch import nn

    from evsim.gradients.training.run_folder import RunFolder
    from evsim.gradients.training.trainer import Score, Trainer

_MOST = 1000  # folders beside a run that are looked at


def report_lines(
    trainer: Trainer,
    tested: Score,
    run: RunFolder,
    parts: Parts,
    full: str | None,
    dt: float | None = None,
) -> list[str]:
    """Draw the pictures of a training that has ended, and return the rest of its report.

    Parameters
    ----------
    trainer : Trainer
        After its last epoch.
    tested : Score
        Of the best epoch, on the test part.
    run : RunFolder
        Where everything is.
    parts : Parts
        The data.
    full : str or None
        A line on the same training at full precision, see `full_precision`; then there are few
        bits, which are told, too.
    dt : float or None
        Length of a step of the grid that the network was trained on [s]; the event engine may
        decide otherwise then.
    """
    from evsim.gradients.lowbit import size

    names = parts.train.class_names
    best = trainer.history[trainer.best["epoch"] - 1]
    seconds = sum(record["seconds"] for record in trainer.history)
    lines = []
    if trainer.stopped:
        lines.append(f"stopped after epoch {len(trainer.history)}: {trainer.stopped}")
    lines += [
        f"best of {count(len(trainer.history), 'epoch')}: {best['epoch']}, "
        f"validation accuracy {best['validation_accuracy']:.1%}",
        f"test accuracy {tested}",
        *([] if dt is None else _by_events(run, trainer, parts, dt)),
        *([str(size(trainer.model)), full] if full else []),
        f"trained in {seconds:.3g} s",
    ]
    try:
        pictures = run.draw(trainer, parts.test[:1].spikes(), names)
        paths = ", ".join(plain(run.path / name, LINE) for name in pictures)
        lines.append(f"pictures in {paths}")
    except ModuleNotFoundError as error:
        lines.append(f"no pictures: {error}")
    net, test = (plain(run.path / name, LINE) for name in ("network.h5", "test.h5"))
    lines.append(f"network in {net}; to run it: evsim simulate {net} {test} -o out.h5")
    return lines


def _by_events(run: RunFolder, trainer: Trainer, parts: Parts, dt: float) -> list[str]:
    """Return lines on how the event engine decides with a network that was trained on a grid."""
    from evsim.gradients.cross_check.by_events import by_events

    net, size = Network.load(run.path / "network.h5"), trainer.options.batch
    try:
        return by_events(net, trainer.model, parts.test, dt, size).lines()
    except RunawayError as error:
        return [f"decisions by events: none, {error}"]


def full_precision(
    run: RunFolder, settings: TrainSettings, parts: Parts, model: nn.Module
) -> str | None:
    """Return a line on the same training at full precision, if this one is on few bits.

    It is looked for among the folders beside the run's; all its options must be the same.

    Parameters
    ----------
    run : RunFolder
        Of the training on few bits.
    settings : TrainSettings
        Of that training.
    parts : Parts
        The data that both are tested on.
    model : Module
        That was trained.
    """
    from evsim.gradients.lowbit import size
    from evsim.gradients.training.run_checks import read_options
    from evsim.gradients.training.trainer import score

    if not settings.few_bits:
        return None
    own = Network.load(run.path / "network.h5")
    few = size(model)  # a network has a dendritic delay for every synapse
    full = replace(few, weight_bits=FULL * few.weights, delay_bits=FULL * few.delays, others=0)
    for folder in sorted(run.path.absolute().parent.iterdir())[:_MOST]:
        try:
            options = read_options(folder / "options.json", TrainSettings, LACKING)
            if options != settings.at_full_precision():
                continue
            n_epochs = len((folder / "log.csv").read_text().splitlines()) - 1
            net = Network.load(folder / "network.h5")
        except (OSError, ValueError):  # whatever it is, it is not that training
            continue
        if n_epochs > 0 and _built_alike(net, own):
            dt, method = settings.dt, settings.method
            model = net.to_torch() if dt is None else on_grid(net, dt, method)
            tested, name = score(model, parts.test), plain(folder.name, LINE)
            return f"at full precision {tested}, {full} ({name}, {count(n_epochs, 'epoch')})"
    return (
        "at full precision: not told, for no folder beside this one has that training; it is "
        "the same command without few bits"
    )


def _built_alike(net: Network, own: Network) -> bool:
    """Whether two networks differ in numbers alone, and the first is not on few bits."""
    sizes = [{p.name: (p.model, p.size) for p in one.populations.values()} for one in (net, own)]
    return sizes[0] == sizes[1] and not any(p.levels for p in net.projections.values())
