"""The command line: ``evsim simulate``, ``train``, ``check``, ``convert``, ``encode``, ...

Commands read files, call the library and print; whatever is wrong with what the user gave
ends in one line on stderr and exit status 2, without an output file. Numba and matplotlib
are imported by the commands that need them, so that ``evsim --help`` is there at once; so are
`evsim.datasets` and `evsim.gradients`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click

from evsim.budget import allow_memory
from evsim.commands.ending import (
    end,
    end_interrupted,
    escape_what_streams_lack,
    one_line_warnings,
)
from evsim.commands.options import Command
from evsim.commands.schema_options import schema_options
from evsim.commands.train import run_training
from evsim.compiling import watch
from evsim.files.demo import demo_names, resolve
from evsim.interrupts import interruptible
from evsim.requests import ENGINES, MAX_RATE
from evsim.train_options import CHECKPOINT, TrainSettings
from evsim.version import VERSION
from evsim.words import LINE, plain

_DEMO = f"Files that come with evsim can be named anywhere: {', '.join(demo_names())}."
_EXAMPLE = """
\b
Try it:
  evsim simulate digits-demo.h5 digits-spikes.h5 -o out.h5 --record input --record hidden
  evsim plot out.h5 -o out.png
"""


def _allow_memory(context: click.Context, _: click.Parameter, gigabytes: float | None) -> None:
    """Allow files more memory until the command is done."""
    if gigabytes is not None:
        context.with_resource(allow_memory(gigabytes))


_memory = click.option(
    "--memory",
    type=float,
    metavar="GB",
    expose_value=False,
    callback=_allow_memory,
    help="What a file may ask for in memory.  [default: 0.27 and 64 times its size]",
)
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors.")
_population = click.option(
    "--population", metavar="NAME", help="Of a SONATA file with more than one: which to read."
)


def _nir(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of networks in NIR, which `read_network` takes."""
    for name, text in (
        (
            "--loop-delay",
            "of synapses on loops without any delay; of time-stepped programs: a step",
        ),
        ("--spike-width", "of the step of the time-stepped program that wrote it"),
    ):
        option = click.option(
            name, type=float, metavar="S", help=f"Of a network in NIR: length {text} [s]."
        )
        command = option(command)
    return command


class _Commands(click.Group):
    """Commands that Ctrl-C ends without the empty line that click would print."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    epilog=_DEMO + "\n" + _EXAMPLE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, prog_name="evsim", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Simulate spiking networks with real-valued delays, event by event and exactly."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command(epilog=_DEMO, short_help="Run a network on recordings.")
@click.argument("model")
@click.argument("spikes")
@click.option("-o", "--output", required=True, metavar="OUT", help="Result file to write (HDF5).")
@click.option(
    "--record",
    multiple=True,
    metavar="POP",
    help="Population whose spikes are kept; repeatable. "
    "Without it: every spiking population but the input.",
)
@click.option(
    "--voltage",
    multiple=True,
    metavar="POP",
    help="Population whose voltage is sampled every --dt; repeatable.",
)
@click.option(
    "--dt",
    type=float,
    metavar="S",
    help="Interval of the voltage samples [s].  [default: 0.001]",
)
@click.option(
    "--duration",
    type=float,
    metavar="S",
    help="Horizon of every recording [s]. Without it: what SPIKES says, else the smallest "
    "multiple of 0.1 s after the last spike.",
)
@click.option(
    "--threads", type=int, metavar="N", help="Threads to spread recordings over.  [default: all]"
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="compiled",
    show_default=True,
    help="The reference is plain Python: slow, readable, the same result.",
)
@click.option(
    "--max-rate",
    type=float,
    default=MAX_RATE,
    metavar="HZ",
    show_default=True,
    help="Stop if a population fires more than this per unit.",
)
@click.option(
    "--tick",
    type=float,
    metavar="S",
    help="Count times in whole ticks of this length [s], so that what meets on that grid meets "
    "exactly; times that are no multiples of it are refused.",
)
@_nir
@_population
@_memory
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Share the recordings out over the workers of this Dask scheduler; the file is the same.",
)
@_quiet
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def simulate(
    model: str, spikes: str, output: str, overwrite: bool, quiet: bool, **options: Any
) -> None:
    """Run the network MODEL, evsim's or in NIR, on every recording of SPIKES.

    OUT holds the spikes, voltages and readout values that were recorded. It is written
    when the run is complete, or not at all.
    """
    from evsim.commands.simulate import RunOptions, run_file

    paths = [resolve(model), resolve(spikes)]
    _check_output(output, overwrite, paths)
    watch.show(quiet=quiet)
    report = run_file(
        paths[0], paths[1], output, RunOptions(overwrite=overwrite, quiet=quiet, **options)
    )
    if not quiet:
        click.echo(report)


@cli.command(epilog=_DEMO, short_help="Tell what a file holds.")
@click.argument("file")
@_nir
@_population
@_memory
def info(file: str, population: str | None, **nir: float | None) -> None:
    """Tell what FILE holds: spikes, a network (evsim's or in NIR) or a result.

    Counts and rates, labels, how spikes are spread over units, parameters, delays and
    weights, where the file comes from. Spikes may be in the layout of SHD, SONATA or evsim,
    or files of N-TIDIGITS, N-MNIST, DVS Gesture (AEDAT 3.1) or MNIST.
    """
    from evsim.commands.info import describe, describe_dataset
    from evsim.commands.networks import refuse_nir_options
    from evsim.datasets.recognise import recognise
    from evsim.files.kinds import refuse_population

    path = resolve(file)
    data = recognise(path)
    if data is not None:
        refuse_population(path, population, "is a data set")
        refuse_nir_options(path, **nir)
        click.echo(describe_dataset(path, data))
        return
    click.echo(describe(path, population, **nir))


@cli.command(epilog=_DEMO, short_help="Draw what a file holds.")
@click.argument("file")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="PICTURE",
    help="What to write: .html is a page to zoom in, .gif an animation, any other format of "
    "matplotlib (.png, .pdf, .svg, .jpg, ...) a figure.",
)
@click.option("--recording", type=int, metavar="N", help="Which one to draw.  [default: 0]")
@click.option(
    "--class",
    "of_class",
    metavar="CLASS",
    help="The first recording of this class; name or number.",
)
@click.option("--units", metavar="UNITS", help="Which units to draw, such as 0-20,35.")
@click.option("--from", "begin", type=float, metavar="S", help="Draw from here on [s].")
@click.option(
    "--to",
    "end",
    type=float,
    metavar="S",
    help="Draw up to here [s].  [default: a little after the last spike]",
)
@click.option(
    "--network",
    metavar="NET",
    help="The network, evsim's or in NIR, that made a result: a page then shows its delays, and an "
    "animation spikes on their way.  [default: the file beside the result, if it is there]",
)
@_nir
@_population
@_memory
@click.option("--overwrite", is_flag=True, help="Replace the picture if it exists.")
def plot(file: str, output: str, network: str | None, **options: Any) -> None:
    """Draw what FILE holds.

    Spikes: raster and rates of one recording; of a camera, its pictures. A result: rasters,
    voltages and readout of one recording. A network: how its delays and weights are spread.
    """
    from evsim.commands.plot import PlotOptions, plot_to_file

    path = resolve(file)
    named = None if network is None else resolve(network)
    _check_output(output, options["overwrite"], [path] if named is None else [path, named])
    click.echo(plot_to_file(path, output, PlotOptions(network=named, **options)))


@cli.command(short_help="Turn sounds into spikes of a cochlea.")
@click.argument("audio", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="OUT", help="Spike file to write (HDF5).")
@click.option(
    "--channels", type=int, default=700, metavar="N", show_default=True, help="Of the cochlea."
)
@click.option(
    "--constants",
    type=click.Choice(["article", "default"]),
    default="article",
    show_default=True,
    help="Of hair cells and ramps: those said to be of the article on SHD, or the program's own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the nerve fibres' chance.")
@click.option(
    "--label-by",
    type=click.Choice(["folder", "name"]),
    help="Label recordings by the name of their folder, or by what stands before the first "
    "underscore of their own name.",
)
@_memory
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def encode(audio: tuple[str, ...], output: str, overwrite: bool, **options: Any) -> None:
    """Turn recordings into the spikes of an artificial cochlea, as SHD was made.

    AUDIO are WAV or FLAC files, or folders of them. OUT is a spike file with one recording
    for each; it is written when all are done, or not at all.
    """
    from evsim.datasets.cochlea.encode import encode_files

    _check_output(output, overwrite, audio)
    click.echo(encode_files(audio, output, overwrite=overwrite, **options))


@cli.command(cls=Command, short_help="Train a network, exactly or by a published method.")
@click.argument("dataset")
@click.option("-o", "--output", required=True, metavar="RUN", help="Folder for all that is made.")
@schema_options(TrainSettings, "dataset")
@click.option(
    "--threads", type=int, metavar="N", help="Threads to spread recordings over.  [default: all]"
)
@_memory
@click.option(
    "--log",
    type=click.Choice(["csv", "tensorboard"]),
    default="csv",
    show_default=True,
    help="log.csv alone, or events in RUN/tensorboard, too.",
)
@_quiet
@click.option("--resume", is_flag=True, help="Go on with the training in RUN.")
@click.option("--overwrite", is_flag=True, help="Replace the training in RUN.")
def train(dataset: str, output: str, **options: Any) -> None:
    """Train a network to tell the classes of DATASET apart.

    Gradients are exact, those of events; other methods take a time grid and surrogates.

    DATASET is digits or gsc10 (spoken digits, and words of strangers, that come with evsim),
    yin-yang, coincidence, a spike file with labels, a folder with SHD or SSC, or
    ps-mnist:FOLDER, the pixels of MNIST one after the other in a fixed random order.

    RUN then holds network.h5, that of the epoch with the best validation accuracy; test.h5,
    the recordings to test it on; log.csv; pictures; and a checkpoint. A training that was
    interrupted goes on with --resume, and ends as if it had not been. Under torchrun all
    processes train one network (docs/training.md).
    """
    if options["resume"] and options["overwrite"]:
        raise click.UsageError("--resume and --overwrite exclude each other.")
    given = {name: value for name, value in options.items() if value is not None}
    try:
        run_training(dataset, output, **given)
    except KeyboardInterrupt:
        if os.path.exists(os.path.join(output, CHECKPOINT)):
            click.echo(f"evsim: {plain(output, LINE)} can go on: --resume", err=True)
        raise


def _list_studies(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print what can be studied and leave, if that is asked for."""
    if wanted:
        from evsim.commands.study import listed

        click.echo(listed())
        context.exit()


@cli.command(short_help="Compute a figure or table of a paper anew.")
@click.argument("name")
@click.argument("data")
@click.option("-o", "--output", required=True, metavar="FOLDER", help="For all that is made.")
@click.option(
    "--quick", is_flag=True, help="Fewer epochs, recordings and points: minutes on one core."
)
@click.option(
    "--seeds", type=int, metavar="N", help="Seeds 0 to N - 1.  [default: 3, with --quick 1]"
)
@click.option(
    "--jobs", type=int, metavar="N", help="Processes that compute.  [default: one per core]"
)
@click.option("--dask", metavar="ADDRESS", help="Let the workers of this Dask scheduler compute.")
@_quiet
@click.option("--resume", is_flag=True, help="Go on with the study in FOLDER.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_studies,
    help="Print the names of all studies with paper and figure, and exit.",
)
def study(name: str, data: str, output: str, **options: Any) -> None:
    """Compute the study NAME on DATA: a figure or table of a paper, with controls.

    DATA is what evsim train takes. FOLDER then holds table.csv, figure.png, report.txt, and a run
    folder of every training. A study that was interrupted or killed goes on with --resume, and
    ends as if it had not been (docs/studies.md).
    """
    from evsim.commands.study import named, run_study_on

    try:
        run_study_on(named(name), data, output, **options)
    except KeyboardInterrupt:
        if os.path.exists(os.path.join(output, "options.json")):
            click.echo(f"evsim: {plain(output, LINE)} can go on: --resume", err=True)
        raise


@cli.command(cls=Command, epilog=_DEMO, short_help="Compare events with a grid of time steps.")
@click.argument("model")
@click.argument("spikes")
@click.option("-o", "--output", metavar="REPORT", help="Folder for the report and a picture.")
@click.option(
    "--dt",
    type=float,
    multiple=True,
    metavar="S...",
    help="Steps of the grid [s], one or several.  [default: 1e-3 5e-4 2e-4 1e-4]",
)
@click.option(
    "--trained",
    type=click.Choice(["exact", "grid"]),
    default="exact",
    show_default=True,
    help="How MODEL was trained, which says what is right. With grid, delays and input of the "
    "events are rounded to steps, too.",
)
@click.option(
    "--recordings",
    type=int,
    default=200,
    metavar="N",
    show_default=True,
    help="Run at most so many, evenly spaced over SPIKES.",
)
@click.option("--device", default="cpu", show_default=True, help="Of torch, for the grid.")
@click.option(
    "--min-match",
    type=float,
    default=0.95,
    metavar="X",
    show_default=True,
    help="Share of spikes that have a partner, at the smallest step.",
)
@click.option(
    "--max-time-error",
    type=float,
    default=5.0,
    metavar="STEPS",
    show_default=True,
    help="Median error of their times, at the smallest step.",
)
@click.option(
    "--min-order",
    type=float,
    default=0.9,
    metavar="X",
    show_default=True,
    help="Order at which time errors fall with the step.",
)
@click.option(
    "--max-accuracy-loss",
    type=float,
    default=0.005,
    metavar="X",
    show_default=True,
    help="From how it was trained to the other way, at the smallest step.",
)
@_nir
@_memory
@click.option("--overwrite", is_flag=True, help="Replace REPORT if it exists.")
def check(
    model: str, spikes: str, output: str | None, dt: tuple[float, ...], **options: Any
) -> None:
    """Compare what MODEL does event by event with what it does on a grid of time steps.

    Runs the recordings of SPIKES both ways, for several steps: spikes that are matched,
    missing and extra, errors of times and voltages, the order at which they fall with the step
    and, for a classifier, accuracy and agreement of decisions.

    Exit status 1 says that a tolerance is not kept.
    """
    from evsim.commands.check import run_check

    paths = os.fspath(resolve(model)), os.fspath(resolve(spikes))
    report, passed = run_check(*paths, dt, output=output, **options)
    click.echo(report)
    if not passed:
        sys.exit(1)


@cli.command("convert", epilog=_DEMO, short_help="Go between NIR graphs and network files.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@_nir
@_memory
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def convert_network(source: str, target: str, overwrite: bool, **nir: float | None) -> None:
    """Write the network IN as OUT: a graph in NIR (.nir) or evsim's own file (.h5).

    What NIR can't say is refused, not dropped. OUT is whole or absent.
    """
    from evsim.commands.networks import convert

    path = resolve(source)
    _check_output(target, overwrite, [path])
    click.echo(convert(path, target, overwrite, **nir))
    click.echo(f"network in {plain(target, LINE)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 after a failed check, 2 an error, 130 interrupted.

    Parameters
    ----------
    arguments : sequence of str or None
        In place of those of the process.
    """
    with interruptible() as interrupt, warnings.catch_warnings():
        warnings.showwarning = one_line_warnings()
        escape_what_streams_lack()
        try:
            watch.show()
            cli.main(arguments, prog_name="evsim", standalone_mode=False)
            if sys.stdout is not None:  # closed by the shell
                sys.stdout.flush()
        except (KeyboardInterrupt, click.Abort):
            end_interrupted()
        except Exception as error:
            if interrupt.pressed:  # a library made an error of its own of it
                end_interrupted()
            end(error)


def _check_output(output: str, overwrite: bool, inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse before any work what would be refused after it."""
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise FileExistsError(f"{output}: exists already; give --overwrite to replace it")
    for path in inputs:
        if os.path.exists(output) and os.path.samefile(output, path):
            raise ValueError(f"{output}: is an input of this command; choose another name")
