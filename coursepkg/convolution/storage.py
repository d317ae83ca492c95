r"""Save what a network has learned, and load it again, without pickle.

A pickle is a small program that runs when it is loaded. An .npz file is a zip archive of plain
arrays (names, shapes, dtypes and numbers), and reading it runs nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from coursepkg.convolution.arguments import Array
from coursepkg.convolution.network import Sequential

__all__ = ["load", "save"]


def save(network: Sequential, path: str | os.PathLike[str]) -> None:
    r"""Write parameters and running statistics of a network into an .npz file.

    The file appears whole or not at all: it is written under another name in the same folder
    first. A file of that name is replaced.

    Parameters
    ----------
    network : Sequential
    path : path
        Taken as it is; no ending is added.

    Raises
    ------
    ValueError
        If the network has nothing to save.
    OSError
        If the folder does not exist or cannot be written to.
    """
    state = network.state()
    if not state:
        raise ValueError("network has no parameters; there is nothing to save")
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(network: Sequential, path: str | os.PathLike[str]) -> None:
    r"""Fill a network with what `save` has written, in place.

    Everything is checked before the first number is changed.

    Parameters
    ----------
    network : Sequential
        Built with the settings of the one that was saved.
    path : path

    Raises
    ------
    ValueError
        If the file is damaged, is no .npz file or holds pickled objects, if its arrays do
        not match the network's in name, shape and dtype, or if one of the network's is
        read-only. The network is left as it was.
    OSError
        If the file does not exist or cannot be read.
    """
    with Path(path).open("rb") as file:
        arrays = _read(file, path)
    state = network.state()
    if arrays.keys() != state.keys():
        missing, extra = sorted(state.keys() - arrays.keys()), sorted(arrays.keys() - state.keys())
        raise ValueError(
            f"{path} is of another network: missing {missing}, unknown {extra}; "
            "build the network as it was saved"
        )
    for name, array in arrays.items():
        _check_match(f"{name} in {path}", array, state[name])
        if not state[name].flags.writeable:
            raise ValueError(
                f"{name} of the network is read-only; build it from arrays that can be changed"
            )
    for name, array in arrays.items():
        state[name][...] = array


def _read(file: BinaryIO, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive can break its reader in any way
        raise ValueError(
            f"{path} is no whole .npz file of plain arrays; use a file that save has written, "
            "and load no pickle from others: loading it runs their code"
        ) from error


def _check_match(name: str, array: Any, wanted: Array) -> None:
    found = (getattr(array, "shape", None), getattr(array, "dtype", None))
    if found != (wanted.shape, wanted.dtype):
        raise ValueError(
            f"{name} has shape {found[0]} and dtype {found[1]} but the network needs "
            f"{wanted.shape} and {wanted.dtype}; build the network as it was saved"
        )
