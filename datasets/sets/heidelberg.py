"""The Heidelberg spiking data sets: spoken digits (SHD) and spoken commands (SSC).

Cramer, Stradmann, Schemmel and Zenke, IEEE TNNLS 33 (2022) 2744: audio through an
artificial cochlea of 700 channels, unit 0 the highest frequency.
"""

from __future__ import annotations

from os import PathLike

from ..published import fetch, find
from .spike_file_data import SpikeFileData

_SOURCE = "https://zenkelab.org/datasets/"
CHANNELS = 700


class SHD(SpikeFileData):
    """Spiking Heidelberg Digits: zero to nine in English and German, 20 classes, 12 speakers.

    The set has no validation part. Its test part holds two speakers whom the training part
    does not have: ``train.hold_out(speakers)`` makes a validation part in the same spirit,
    ``train.split(0.1, seed)`` one at random.

    Parameters
    ----------
    folder : path
        With ``shd_train.h5`` and ``shd_test.h5``, or one such file.
    split : {"train", "test"}
        Which part.
    duration : float
        Horizon [s]; later spikes are left out. The default is longer than any recording.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Raises
    ------
    FileError
        If the file is missing or not sound.
    ValueError
        If there is no such split.

    Examples
    --------
    >>> train = SHD("shd/", "train")                      # doctest: +SKIP
    >>> train, validation = train.hold_out([3, 8])        # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        duration: float = 1.4,
        download: bool = False,
    ) -> None:
        name = _file_name("shd", split, ("train", "test"))
        if download:
            fetch("SHD", folder, train=split == "train")
        hint = f"unpacked from {_SOURCE}{name}.zip"
        super().__init__(find(folder, name, f"SHD/{name}", hint=hint), CHANNELS, duration)


class SSC(SpikeFileData):
    """Spiking Speech Commands: 35 words, one second each.

    Parameters
    ----------
    folder : path
        With ``ssc_train.h5``, ``ssc_valid.h5`` and ``ssc_test.h5``, or one such file.
    split : {"train", "valid", "test"}
        Which part.
    duration : float
        Horizon [s]; later spikes are left out. The recordings last one second.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Raises
    ------
    FileError
        If the file is missing or not sound.
    ValueError
        If there is no such split.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        duration: float = 1.0,
        download: bool = False,
    ) -> None:
        name = _file_name("ssc", split, ("train", "valid", "test"))
        if download:
            fetch("SSC", folder, split=split)
        hint = f"unpacked from {_SOURCE}{name}.zip"
        super().__init__(find(folder, name, f"SSC/{name}", hint=hint), CHANNELS, duration)


def _file_name(stem: str, split: str, splits: tuple[str, ...]) -> str:
    if split not in splits:
        raise ValueError(f"split = {split!r}, must be one of {', '.join(splits)}")
    return f"{stem}_{split}.h5"
