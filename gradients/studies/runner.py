"""``run_study``: all points of a study with all seeds, whatever comes between.

A point is handed to a worker once the point that it needs is done, written when it comes back,
and never computed again. Table, figure and report are made at the end, from what is written.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from os import PathLike
from typing import Any

from tqdm import tqdm

from evsim.cluster import explained, need_dask
from evsim.files import FileError
from evsim.plots.style import new_figure, save_figure, styled
from evsim.terminal import on_terminal
from evsim.threads import useful_threads
from evsim.words import LINE, count, one_line, plain

from .interface import Finished, Point, Study, Tools, Work, key_of, told
from .points import PointsFile, shown
from .reporting import report_text
from .study_folder import StudyFolder, StudyOptions, digest_of
from .tables import table_of
from .tabulating import refuse_unsound_points, tabulated
from .workers import Outcome, compute, workers

_TELLING = 0.05  # share of the points that tell how long the others take
_ERRORS = "errors.txt"
_SIZE = 8.0, 4.8  # of a figure [inch]
Say = Callable[[str], None]
Job = tuple[Point, int]


def run_study(
    study: Study,
    data: str,
    folder: str | PathLike[str],
    tools: Tools,
    quick: bool = False,
    seeds: int | None = None,
    resume: bool = False,
    jobs: int | None = None,
    dask: str | None = None,
    say: Say = print,
) -> str:
    """Compute a study in a folder, or go on with it.

    Parameters
    ----------
    study : Study
        Which one; its class must stand in a module that workers can import.
    data : str
        The data set, as ``evsim train`` takes it.
    folder : path
        For all that is made.
    tools : Tools
        What commands lend.
    quick : bool
        Whether fewer epochs, recordings and points will do.
    seeds : int or None
        How many; if left out 3, or 1 of a quick study, or as many as before.
    resume : bool
        Whether to go on with the study in the folder.
    jobs : int or None
        Processes of this machine, one per core if left out; with one, this process computes.
    dask : str or None
        Address of a Dask scheduler whose workers compute instead.
    say : callable
        Is told how it goes, line by line.

    Returns
    -------
    str
        The report.

    Raises
    ------
    FileError, FileExistsError, ValueError
        If something is wrong with what was asked for, or with a file, or if points failed; all
        others are done then.
    OSError
        If workers are lost, or a cluster can't be used.
    ModuleNotFoundError
        If scipy, matplotlib or, where it is wanted, Dask is not installed.
    """
    _need_extras(dask)
    points = study.points(quick)
    refuse_unsound_points(points, lambda point: (study.control(point), study.needs(point)))
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs = {jobs}, must be at least 1")
    n_workers = useful_threads(jobs)
    with StudyFolder(folder, resume) as home:
        start = home.resume if resume else home.begin
        parts = tools.parts(data)
        options = start(study.name, data, seeds, quick, str(parts), digest_of(parts))
        with PointsFile(home.path / "points.jsonl", points) as file:
            with workers(n_workers, dask, home.path) as (pool, at_once):
                run = _Run(study, options, home, tools, points, file, say)
                run.all(pool, at_once)
            results = dict(file.results)
        try:
            return _finish(study, options, home, points, results)
        except FileError:  # a full disk, say: no fault of the lines
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(one_line(
                f"{home.name}/points.jsonl: its lines make no table of {study.name} "
                f"({type(error).__name__}: {error}); take away what was changed in it, and go on "
                "with --resume"
            )) from error  # fmt: skip


class _Run:
    """The points that are left, and those under way."""

    def __init__(
        self,
        study: Study,
        options: StudyOptions,
        home: StudyFolder,
        tools: Tools,
        points: list[Point],
        file: PointsFile,
        say: Say,
    ) -> None:
        self.study, self.options, self.home, self.tools = study, options, home, tools
        self.file, self.say = file, say
        jobs = [(point, seed) for seed in range(options.seeds) for point in points]
        self.n = len(jobs)
        self.left = [job for job in jobs if (key_of(job[0]), job[1]) not in file.results]
        self.n_before = self.n - len(self.left)
        self.running: dict[Future[Outcome], Job] = {}
        self.failed: list[str] = []
        self.traces: list[str] = []
        self.begin = time.perf_counter()

    def all(self, pool: Executor, at_once: int) -> None:
        """Compute what is left."""
        if self.n_before:
            self.say(f"{self.n_before:,} of {count(self.n, 'point')} are done already")
        (self.home.path / _ERRORS).unlink(missing_ok=True)
        bar = tqdm(
            total=self.n, initial=self.n_before, unit=" points", disable=not on_terminal(),
            leave=False,
        )  # fmt: skip
        with bar:
            while self.left or self.running:
                for job in self._ready(at_once - len(self.running)):
                    self.running[self._submit(pool, *job)] = job
                if not self.running:
                    break  # what is left needs points that failed
                ended = wait(self.running, return_when=FIRST_COMPLETED).done
                for done in sorted(ended, key=_is_lost):
                    self._take(done, self.running.pop(done))
                    bar.update()
        self._refuse_failures()

    def _ready(self, n: int) -> Iterator[Job]:
        """Take jobs off the list whose needs are done, at most some."""
        ready = [job for job in self.left if self._has_needs(*job)][: max(n, 0)]
        self.left = [job for job in self.left if not any(job is one for one in ready)]
        yield from ready

    def _has_needs(self, point: Point, seed: int) -> bool:
        needed = self.study.needs(point)
        return needed is None or (key_of(needed), seed) in self.file.results

    def _submit(self, pool: Executor, point: Point, seed: int) -> Future[Outcome]:
        return pool.submit(compute, self.study, self._work(point, seed), os.getcwd())

    def _work(self, point: Point, seed: int) -> Work:
        other = self.study.needs(point)
        needed = None
        if other is not None:
            measured = self.file.results[key_of(other), seed]
            needed = Finished(other, self.home.run_folder(other, seed), measured)
        folder, o = self.home.run_folder(point, seed), self.options
        return Work(point, seed, folder, o.data, o.quick, needed, self.tools)

    def _take(self, done: Future[Outcome], job: Job) -> None:
        """Write what a worker returns, and tell it."""
        point, seed = job
        name = f"{told(point)} seed={seed}"
        try:
            outcome = done.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was ended by the system, for lack of memory perhaps; take fewer with "
                "--jobs, and go on with --resume"
            ) from error
        except CancelledError as error:
            raise OSError(f"{explained(error)}; go on with --resume when it is back") from error
        except Exception as error:  # of a scheduler, or of what can't be sent to a worker
            why = explained(error)
            outcome = Outcome({}, error=f"{type(why).__name__}: {why}")
        for text in outcome.warnings:
            warnings.warn(text, stacklevel=2)
        if outcome.error:
            self.failed.append(f"{name}: {outcome.error}")
            self.traces.append(f"{name}\n{outcome.trace or outcome.error}\n")
            self.say(plain(f"failed: {self.failed[-1]}", LINE))
            self.home.write(_ERRORS, "\n".join(self.traces))
            return
        self.file.add(point, seed, outcome.measured)
        found = shown(outcome.measured, self.study.measure)
        n_done = f"{len(self.file.results):>{len(str(self.n))}}/{self.n}"
        self.say(f"{n_done}  {name}  {found}{self._time_left()}")

    def _time_left(self) -> str:
        n_done = len(self.file.results) - self.n_before
        n_left = len(self.left) + len(self.running)
        if n_done < _TELLING * self.n:  # the first are trainings, which others wait for
            return ""
        seconds = (time.perf_counter() - self.begin) / max(n_done, 1) * n_left
        return f"  {duration(seconds)} left" if n_left else ""

    def _refuse_failures(self) -> None:
        if self.failed:
            n_waiting = len(self.left)
            more = f" and {n_waiting:,} that need them" if n_waiting else ""
            raise ValueError(one_line(
                f"{count(len(self.failed), 'point')}{more} of {self.n:,} failed, first "
                f"{self.failed[0]}; all are told in {self.home.name}/{_ERRORS}; go on with --resume"
            ))  # fmt: skip
        if self.left:
            raise ValueError(f"{self.study.name}: its points need each other in a ring")


def _is_lost(done: Future[Outcome]) -> bool:
    """Whether there is no outcome; those that there are must be kept first."""
    return done.cancelled() or done.exception() is not None


def _finish(
    study: Study,
    options: StudyOptions,
    home: StudyFolder,
    points: list[Point],
    results: dict[tuple[str, int], Any],
) -> str:
    """Write table, figure and report; the last two from what the table says."""
    text = tabulated(study, points, options.seeds, results).text()
    home.write("table.csv", text)
    table = table_of(text)
    with styled():
        figure = new_figure(*_SIZE, f"{study.name}: {study.title}" + " (quick)" * options.quick)
        study.figure(figure, table)
        save_figure(home.path / "figure.png", figure, overwrite=True)
    report = report_text(study, options, home.name, points, table)
    home.write("report.txt", report)
    return report


def duration(seconds: float) -> str:
    """Return a time to wait, roughly.

    Examples
    --------
    >>> duration(12.3), duration(250), duration(9000)
    ('about 12 s', 'about 4 min', 'about 2.5 h')
    """
    if seconds < 99.5:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _need_extras(dask: str | None) -> None:
    try:
        import matplotlib  # noqa: F401
        import scipy.special  # noqa: F401
    except ModuleNotFoundError as error:
        lacking = (error.name or "").partition(".")[0]
        raise ModuleNotFoundError(
            f"studies need {lacking}; install it with: pip install evsim[study]"
        ) from error
    styled()
    if dask is not None:
        need_dask()
