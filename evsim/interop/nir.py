"""NIR graphs in and out (the Neuromorphic Intermediate Representation, an extra).

What one side can say and the other can't is an error that names it. The graphs are built
in `evsim.interop.nir_export` and read in `evsim.interop.nir_import`; here are the public
functions and what the equations mean to each other.
"""

from __future__ import annotations

import io
from os import PathLike
from typing import Any

import h5py
import numpy as np

from evsim.files.hdf5 import LIBRARY_ERRORS, FileError, InputFile, reason
from evsim.files.new_hdf5 import check_group_name
from evsim.files.plain_copy import check_tree
from evsim.files.whole_file import WholeFile
from evsim.interop.nir_export import export_graph
from evsim.interop.nir_import import NEURONS, POPULATIONS, import_graph
from evsim.network import Network
from evsim.quantities import positive


def to_nir(net: Network) -> Any:
    r"""Turn a network into a NIR graph.

    Populations become nodes of their names, projections `Linear` or convolution nodes of
    theirs, with a `Delay` node before and a `Flatten` node where they are needed.

    Parameters
    ----------
    net : Network
        Of `LIF`, `CubaLIF`, `LI` and `CubaLI` populations.

    Returns
    -------
    nir.NIRGraph
        `from_nir` gives the same network back, bit for bit; a sparse projection comes
        back dense.

    Raises
    ------
    ValueError
        If the network has what NIR can't say: synaptic delays, refractory periods, soft
        resets, `SRM` populations, kinds of output, several synapses between a pair,
        populations without input or without way out; names the population or projection.
    ModuleNotFoundError
        If the nir package is missing.

    Notes
    -----
    NIR's current-based neurons obey

    .. math::
        \tau_{syn} \dot I = -I + w_{in} S, \quad
        \tau_{mem} \dot v = (v_{leak} - v) + R I,

    where a spike of weight w is a pulse S of area w: it steps I by w_in w / tau_syn.
    evsim's arrival steps R I by its weight, so evsim's weight is
    w R w_in / tau_syn; graphs are written with R = 1 and w_in = tau_syn, which makes the
    two weights the same number. NIR's `LIF` and `LI` obey tau dv/dt = (v_leak - v) + R I
    with the pulse in place of I: v steps by w R / tau; graphs are written with R = tau.
    A `LIF` without leak (tau_mem infinite) is NIR's `IF`, which steps by w R.

    NIR's neurons fire above the threshold, evsim's at it: they differ only where a `LIF`
    hits its threshold exactly.

    NIR 1.0.8 misjudges the output of kernels that are not square: files with such
    kernels are read by `load_nir`, and by ``nir.read`` with ``type_check=False``.
    """
    return export_graph(_nir(), net)


def from_nir(
    graph: Any,
    output: str | None = None,
    spike_width: float | None = None,
    *,
    loop_delay: float | None = None,
) -> Network:
    """Turn a NIR graph into a network.

    Every path from one population of neurons to the next becomes a projection: delays,
    at most one `Linear`, `Affine` (without bias) or convolution (without bias and
    groups), and delays again. Without weights, unit i reaches unit i. Graphs within the
    graph are taken apart. Neurons with one value for all (a scalar, or an array of length 1)
    are as many as the weights around them, or the output, tell.

    Parameters
    ----------
    graph : nir.NIRGraph
        With one `Input` node, and populations `LIF`, `CubaLIF`, `IF`, `LI`, `CubaLI`.
    output : str or None
        Where the graph has several `Output` nodes: which of them, or which population.
    spike_width : float or None
        NIR's spikes are pulses of area 1 (None). Programs that work in time steps feed a
        1 for one step instead, and scale ``r`` or ``w_in`` with 1 / dt to make up for it:
        give their step [s].
    loop_delay : float or None
        Delay [s] of every synapse that is on a loop without any delay. Programs that work in
        time steps imply one there: give their step.

    Returns
    -------
    Network
        Weights are scaled as told in `to_nir`.

    Warns
    -----
    UserWarning
        If ``spike_width`` is left out and a spike would lift voltages by more than ten
        thresholds, which graphs of programs with time steps do; names the step that the
        graph suggests, where it suggests one.

    Raises
    ------
    ValueError
        If the graph holds nodes or features that evsim has nothing for, a loop without any
        delay, or neurons of which nothing tells how many there are; names the node.
    ModuleNotFoundError
        If the nir package is missing.
    """
    _nir()
    _check_times(spike_width, loop_delay)
    return import_graph(graph, output, spike_width, loop_delay)


def save_nir(path: str | PathLike[str], net: Network, overwrite: bool = False) -> None:
    """Write a network as a NIR file that is whole or absent; see `to_nir`.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If the network has what NIR can't say.
    FileError
        If the file can't be written.
    """
    graph = to_nir(net)
    for name in graph.nodes:
        check_group_name("node", name)
    image = io.BytesIO()
    _nir().write(image, graph)
    with WholeFile(path, overwrite) as temporary, open(temporary, "wb") as stream:
        stream.write(image.getbuffer())


def load_nir(
    path: str | PathLike[str],
    output: str | None = None,
    spike_width: float | None = None,
    *,
    loop_delay: float | None = None,
) -> Network:
    """Read a NIR file as a network; see `from_nir`.

    Raises
    ------
    FileError
        If there is no such file, it is not NIR, or `from_nir` refuses the graph.
    ValueError
        If ``spike_width`` or ``loop_delay`` is not positive.
    """
    nir = _nir()
    _check_times(spike_width, loop_delay)
    with InputFile(path) as file:
        if "node" not in file.root:
            raise file.root.error("node", "is missing; this is not a NIR file")
        check_tree(file.root)
    try:
        graph = _read(nir, path)
        return from_nir(graph, output, spike_width, loop_delay=loop_delay)
    except (*LIBRARY_ERRORS, AssertionError) as error:
        raise FileError(f"{path}: {reason(error)}") from error


def _check_times(spike_width: float | None, loop_delay: float | None) -> None:
    for name, value in (("spike_width", spike_width), ("loop_delay", loop_delay)):
        if value is not None:
            positive(name, value, "s")


def _read(nir: Any, path: str | PathLike[str]) -> Any:
    """Read a graph; neurons' parameters that are one value for all may stand beside arrays."""
    with h5py.File(path, "r") as file:
        graph = nir.serialization.hdf2dict(file["node"])
    _broadcast(graph)
    return nir.dict2NIRNode(graph | {"type_check": False})


def _broadcast(graph: dict[str, Any]) -> None:
    """Give the parameters of each node of neurons one shape, as the nir package wants them."""
    for node in graph.get("nodes", {}).values():
        if "nodes" in node:
            _broadcast(node)
        keys = [key for key in NEURONS if key in node]
        if node.get("type") in POPULATIONS and keys:
            shape = max((np.shape(node[key]) for key in keys), key=lambda s: (np.prod(s), len(s)))
            for key in keys:
                if np.size(node[key]) == 1:
                    node[key] = np.full(shape, node[key])


def _nir() -> Any:
    """Import the nir package, or say how to get it."""
    try:
        import nir
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "NIR graphs need the nir package: pip install evsim[nir]"
        ) from error
    return nir
