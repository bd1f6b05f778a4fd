"""Network files: format "evsim-network", versions 1 and 2.

    /                      format, version, input, output
    /populations/<name>    model, size, ...; one data set per parameter
    /projections/<name>    pre, post, kind, ...; weight or kernel, delay, ...

Version 2 is for files with weights or delays as integers (`evsim.files.stored_levels`); all
others are written as version 1.

In populations and projections whatever is not known is refused: to ignore it could
change what the network does. Anything else in the root is the user's own.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from os import PathLike
from typing import Any

import h5py
import numpy as np

from evsim.budget import NUMBER
from evsim.files.hdf5 import (
    FileError,
    Folder,
    InputFile,
    as_floats,
    as_integers,
    library_errors,
    open_regular,
    reason,
)
from evsim.files.new_hdf5 import NewHdf5, check_group_name
from evsim.files.spike_layouts import MAX_UNITS
from evsim.files.stored_levels import VERSION, read_numbers, refuse_levels, write_levels
from evsim.levels import Levels
from evsim.models import MODELS
from evsim.network import Network, Population
from evsim.projections import KINDS, Projection, payload

FORMAT = "evsim-network"

_SHARED = ("delay", "axonal_delay")
_DATASETS = {
    "dense": ("weight", *_SHARED),
    "sparse": ("indptr", "indices", "weight", *_SHARED),
    "conv1d": ("kernel", *_SHARED),
    "conv2d": ("kernel", *_SHARED),
}
_GEOMETRY = ("input_shape", "stride", "padding", "dilation")
_REQUIRED = ("weight", "kernel", "indptr", "indices")


def load_network(path: str | PathLike[str]) -> Network:
    """Read a network file.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    Network
        Populations and projections in the order in which they were written; the same
        bits, and the same `evsim.Levels`.

    Raises
    ------
    FileError
        If there is no such file, it is not an evsim network or of a newer version, data
        are missing, unknown or of the wrong shape, or the network is not valid (see
        `evsim.Network`); names the group and the first offending entry.
    """
    with InputFile(path) as file:
        root = file.root
        version = _check_format(root)
        populations = [_read_population(f, version) for f in _members(root, "populations")]
        n_units = sum(population.size for population in populations)
        if n_units > MAX_UNITS:
            raise root.error("populations", f"have {n_units} units; at most {MAX_UNITS} are read")
        projections = [_read_projection(f, version) for f in _members(root, "projections")]
        ends = {name: root.text(name) for name in ("input", "output")}
        _draw_axons(root, populations, projections)
        _draw_expanded(root, projections)
        try:
            return Network(populations, projections, **ends)
        except (ValueError, MemoryError) as error:
            raise FileError(f"{file.path}: {reason(error)}") from error


def save_network(path: str | PathLike[str], net: Network, overwrite: bool = False) -> None:
    """Write a network to a file that is whole or absent.

    Parameters
    ----------
    path : path
        Of the file.
    net : Network
        Weights and delays are written as float64, all bits kept; those with `evsim.Levels` as
        integers. A parameter that is the same for all units is written as a scalar.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If a name can't be the name of an HDF5 group.
    FileError
        If the file can't be written.
    """
    _check_names(net)
    with NewHdf5(path, overwrite) as new, new.writing():
        _write(new.h5, net)


def network_digest(net: str | PathLike[str] | Network) -> str:
    """Return the SHA-256 of a network file, as `sha256sum` prints it.

    Parameters
    ----------
    net : path or Network
        For a `Network`, of the file that `save_network` would write.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    FileError
        If the file can't be read.
    """
    if not isinstance(net, Network):
        with library_errors(os.fspath(net)), open_regular(net) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.h5")
        save_network(path, net)
        return network_digest(path)


def stored_bits(path: str | PathLike[str]) -> int:
    """Return the bits that a network file spends on weights and delays, as they lie in it.

    A delay that is one for all synapses does not count, as in `evsim.bits.network_bits`.

    Parameters
    ----------
    path : path
        Of the file.

    Raises
    ------
    FileError
        If it is not sound.
    """
    n_bytes = 0
    with InputFile(path) as file:
        for folder in _members(file.root, "projections"):
            for name in {"weight", "kernel", *_SHARED}.intersection(folder.names()):
                data = folder.dataset(name)
                with library_errors(folder.where(name)):
                    n_bytes += data.id.get_storage_size() if data.ndim else 0
    return 8 * n_bytes


def check_version(root: Folder, newest: int) -> int:
    """Return the version of a file; refuse any but 1 to ``newest``, by number."""
    version = root.integer("version")
    if version is None:
        raise root.error("", "attribute 'version' is missing")
    if version > newest:
        raise root.error(
            "", f"is of version {version}; this evsim reads up to {newest}: use a newer evsim"
        )
    if version < 1:
        raise root.error("", f"attribute 'version' is {version}, must be at least 1")
    return version


def _check_format(root: Folder) -> int:
    found = root.text("format")
    if found != FORMAT:
        hint = ""
        if "node" in root:
            hint = "; it looks like NIR: use evsim.interop.load_nir"
        elif "spikes" in root:
            hint = "; it looks like a spike or result file"
        what = "is missing" if found is None else f"is {found!r}"
        raise root.error("", f"attribute 'format' {what}, must be {FORMAT!r}{hint}")
    return check_version(root, VERSION)


def _members(root: Folder, name: str) -> list[Folder]:
    folder = root.folder(name)
    return [folder.folder(member) for member in folder.names()]


def _read_population(folder: Folder, version: int) -> Population:
    name = folder.path.rpartition("/")[2]
    model = folder.text("model")
    if model not in MODELS:
        raise folder.error(
            "", f"attribute 'model' is {model!r}, must be one of {', '.join(MODELS)}"
        )
    size = folder.integer("size")
    if size is None or not 1 <= size <= MAX_UNITS:
        raise folder.error("", f"attribute 'size' is {size}, must be from 1 to {MAX_UNITS}")
    options: dict[str, Any] = {
        "reset_mode": folder.text("reset_mode", "hard"),
        "output": folder.text("output"),
        "tau_output": folder.number("tau_output"),
    }
    parameters = MODELS[model].parameters
    _refuse_unknown(folder, ("model", "size", *options), tuple(parameters))
    folder.keep("", size * (1 + len(parameters)), NUMBER, f"numbers of {size:,} units")
    given = [key for key in parameters if key in folder]
    for key in given:
        refuse_levels(folder, key, version)
    values = {key: as_floats(folder, key, (0, 1)) for key in given}
    try:
        return Population(name, model, size, **(options | values))
    except ValueError as error:
        raise folder.error("", str(error)) from error


def _read_projection(folder: Folder, version: int) -> Projection:
    name = folder.path.rpartition("/")[2]
    kind = folder.text("kind")
    if kind not in KINDS:
        raise folder.error("", f"attribute 'kind' is {kind!r}, must be one of {', '.join(KINDS)}")
    ends: dict[str, Any] = {end: folder.text(end) for end in ("pre", "post")}
    for end, population in ends.items():
        if population is None:
            raise folder.error("", f"attribute {end!r} is missing")
    geometry = _GEOMETRY if kind.startswith("conv") else ()
    _refuse_unknown(folder, ("kind", "pre", "post", *geometry), _DATASETS[kind])
    values: dict[str, Any] = {key: _integers(folder, key) for key in geometry}
    values = {key: value for key, value in values.items() if value is not None}
    if geometry and "input_shape" not in values:
        raise folder.error("", "attribute 'input_shape' is missing")
    for key in _DATASETS[kind]:
        if key in ("indptr", "indices"):
            refuse_levels(folder, key, version)
            values[key] = as_integers(folder, key)
        elif key in folder or key in _REQUIRED:
            values[key] = read_numbers(folder, key, version)
    try:
        return KINDS[kind](name=name, **ends, **values)
    except (ValueError, MemoryError) as error:
        raise folder.error("", reason(error)) from error


def _draw_axons(root: Folder, populations: list[Population], projections: list[Projection]) -> None:
    """Draw what every projection keeps for each of its pre units."""
    sizes = {population.name: population.size for population in populations}
    for p in projections:
        n = sizes.get(p.pre, 0)
        root.keep(f"projections/{p.name}", n, NUMBER, f"axons from {p.pre!r}")


def _draw_expanded(root: Folder, projections: list[Projection]) -> None:
    """Draw the convolutions in loops whose synapses a network looks at one by one."""
    for p in projections:
        delayed = p.delay.all() or (p.axonal_delay is not None and p.axonal_delay.all())
        if p.kind.startswith("conv") and not delayed and _leads_back(p, projections):
            root.keep(f"projections/{p.name}", p.n_synapses, 6 * NUMBER, "synapses")


def _leads_back(projection: Projection, projections: list[Projection]) -> bool:
    """Return whether a path leads from the end of a projection to its start."""
    reached, new = set(), {projection.post}
    while new:
        reached |= new
        new = {p.post for p in projections if p.pre in new} - reached
    return projection.pre in reached


def _integers(folder: Folder, name: str) -> tuple[int, ...] | None:
    """Read an attribute that is an integer or a few of them."""
    value = folder.attribute(name)
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim > 1 or not 1 <= array.size <= 2:
        raise folder.error("", f"attribute {name!r} is {value!r}, must be an integer or two")
    return tuple(int(v) for v in array.ravel())


def _refuse_unknown(folder: Folder, attributes: tuple[str, ...], datasets: tuple[str, ...]) -> None:
    for what, found, known in (
        ("attribute", folder.attributes(), attributes),
        ("data set", folder.names(), datasets),
    ):
        for name in found:
            if name not in known:
                raise folder.error(
                    "" if what == "attribute" else name,
                    f"{what} {name!r} is unknown here; known are {', '.join(known) or 'none'}",
                )


def _check_names(net: Network) -> None:
    for what, names in (("population", net.populations), ("projection", net.projections)):
        for name in names:
            check_group_name(what, name)


def _write(file: h5py.File, net: Network) -> None:
    levels = {name: projection.levels for name, projection in net.projections.items()}
    for key, value in (
        ("format", FORMAT),
        ("version", VERSION if any(levels.values()) else 1),
        ("input", net.input),
        ("output", net.output),
    ):
        file.attrs[key] = value
    populations = file.create_group("populations", track_order=True)
    for population in net.populations.values():
        _write_population(populations.create_group(population.name), population)
    projections = file.create_group("projections", track_order=True)
    for name, projection in net.projections.items():
        _write_projection(projections.create_group(name), projection, levels[name])


def _write_population(group: h5py.Group, population: Population) -> None:
    group.attrs["model"] = population.model
    group.attrs["size"] = population.size
    if population.spiking and population.parameters:
        group.attrs["reset_mode"] = population.reset_mode
    for key in ("output", "tau_output"):
        if getattr(population, key) is not None:
            group.attrs[key] = getattr(population, key)
    for name, values in population.parameters.items():
        bits = values.view(np.int64)  # tells 0.0 from -0.0
        group[name] = values[0] if (bits == bits[0]).all() else values


def _write_projection(group: h5py.Group, projection: Projection, levels: dict[str, Levels]) -> None:
    group.attrs["pre"] = projection.pre
    group.attrs["post"] = projection.post
    group.attrs["kind"] = projection.kind
    for name, value in payload(projection).items():
        if name in _GEOMETRY:
            group.attrs[name] = np.array(value, np.int64)
        elif name in levels:
            write_levels(group, name, levels[name])
        elif value is not None:
            group[name] = value
