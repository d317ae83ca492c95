r"""Full data sets and other large files, fetched on request, checked by SHA-256 and kept.

Nothing here runs on the pages of the book unless ``COURSE_SCALE=full`` is set. A transfer that
breaks goes on where it stopped, also in a later session. Of several processes that want one file,
one fetches it and the others wait. All hashes are SHA-256; those of the data
sets are the same as TensorFlow Datasets publishes.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from coursepkg.validation import integer

__all__ = ["DATASETS", "Dataset", "ImageSet", "cache_folder", "download", "fetch", "load", "unpack"]

PAUSE = 1.0  # seconds between two tries


@dataclass(frozen=True)
class Dataset:
    r"""Where a data set comes from.

    Attributes
    ----------
    url : str
        The folder on the server, with its final slash.
    files : dict of str to str
        File names and their SHA-256.
    megabytes : int
        Size of the whole transfer.
    source : str
        The paper.
    """

    url: str
    files: dict[str, str]
    megabytes: int
    source: str


class ImageSet(NamedTuple):
    r"""Training and test images as published.

    Attributes
    ----------
    train_images, test_images : ndarray
        ``(N, C, H, W)`` uint8.
    train_labels, test_labels : ndarray
        ``(N,)`` int64.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


#: Every data set that can be fetched, by its name.
DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            "train-labels-idx1-ubyte.gz": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
        12,
        "LeCun, Bottou, Bengio and Haffner, 1998",
    ),
    "fashion-mnist": Dataset(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        },
        31,
        "Xiao, Rasul and Vollgraf, 2017",
    ),
    "cifar-10": Dataset(
        "https://www.cs.toronto.edu/~kriz/",
        {
            "cifar-10-binary.tar.gz": (
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
            ),
        },
        170,
        "Krizhevsky, 2009",
    ),
    "oxford-iiit-pet": Dataset(
        "https://www.robots.ox.ac.uk/~vgg/data/pets/data/",
        {
            "images.tar.gz": "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            "annotations.tar.gz": (
                "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91"
            ),
        },
        811,
        "Parkhi, Vedaldi, Zisserman and Jawahar, 2012",
    ),
}


def download(name: str, folder: Path | str | None = None, progress: bool = True) -> list[Path]:
    r"""Fetch the files of a data set, unless they are here already.

    Parameters
    ----------
    name : str
        A key of :data:`DATASETS`.
    folder : Path or str, optional
        Where to keep them; by default ``<cache folder>/<name>``.
    progress : bool
        Show a progress bar (on standard error).

    Returns
    -------
    list of Path
        The files, in the order of :attr:`Dataset.files`; each has been checked.

    Raises
    ------
    ValueError
        The name is unknown, or the server sent something else than the published file; that is
        removed.
    ConnectionError
        The server cannot be reached, or the transfer breaks again and again. The message names
        the address, the folder, and what to do by hand. The part that arrived is kept.
    """
    dataset = _dataset(name)
    folder = Path(folder) if folder else cache_folder() / name
    return [
        fetch(dataset.url + file, sha256, folder, progress)
        for file, sha256 in dataset.files.items()
    ]


def fetch(
    url: str, sha256: str, folder: Path | str | None = None, progress: bool = True, tries: int = 3
) -> Path:
    r"""Fetch one file, unless it is here already.

    Parameters
    ----------
    url : str
        Its address; the part of its path behind the last slash becomes the file's name.
    sha256 : str
        Its SHA-256 in hexadecimal digits, or at least the first 8 of them, as names of published
        weights carry them. Eight digits notice practically every accident, but not a forger.
    folder : Path or str, optional
        Where to keep it; by default :func:`cache_folder`. An empty file ``.<name>.lock`` stays
        there, too: who fetches holds it, and others wait.
    progress : bool
        Show a progress bar (on standard error).
    tries : int
        How often to try when the transfer breaks. What a server refuses (4xx) is not tried again.

    Returns
    -------
    Path
        The file, checked.

    Raises
    ------
    ValueError
        `url` names no file, `tries` is less than 1, `sha256` is too short or has other characters,
        or the server sent something else; that is removed.
    ConnectionError
        As :func:`download`.
    """
    from filelock import FileLock

    if not re.fullmatch("[0-9a-f]{8,64}", sha256):
        raise ValueError(f"sha256={sha256!r} has not 8 to 64 of the digits 0-9 and a-f; copy them")
    name = urlsplit(url).path.rpartition("/")[2]
    if not name.strip("."):
        raise ValueError(f"url={url!r} names no file; pass an address whose path ends with a name")
    tries = integer("tries", tries, 1)
    folder = Path(folder) if folder else cache_folder()
    path = folder / name
    if _hash(path).startswith(sha256):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        if not _hash(path).startswith(sha256):  # nobody fetched it in the meantime
            part = folder / f"{name}.part"
            _persist(url, part, progress, tries)
            _accept(part, path, sha256)
    return path


def _hash(path: Path) -> str:
    r"""Return the SHA-256 of a file, or nothing if there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _accept(part: Path, path: Path, sha256: str) -> None:
    r"""Give what arrived its name if it is the right file, and remove it otherwise."""
    found = _hash(part)
    if not found.startswith(sha256):
        part.unlink()
        raise ValueError(
            f"SHA-256 hash of downloaded file ({path.name}) does not match: it should begin with "
            f"{sha256} and is {found}; it has been removed, as the server sent something else"
        )
    part.replace(path)


def _persist(url: str, part: Path, progress: bool, tries: int) -> None:
    r"""Transfer a file; go on after a pause when the line breaks."""
    import requests

    for left in reversed(range(tries)):
        try:
            return _transfer(url, part, progress)
        except requests.RequestException as error:
            refused = error.response is not None and error.response.status_code < 500
            if refused or not left:
                raise ConnectionError(
                    f"{url} could not be fetched ({type(error).__name__}: {error}); "
                    "try again later, what has arrived is kept; or fetch that address by hand and "
                    f"put it as {part.stem} into {part.parent}"
                ) from error
            time.sleep(PAUSE)


def _transfer(url: str, part: Path, progress: bool) -> None:
    r"""Ask for what is not in `part` yet, and add it there."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    ask = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=ask, stream=True, timeout=30) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is here; the hash decides
        reply.raise_for_status()
        if reply.status_code != requests.codes.partial_content:
            have = 0  # the server sends the whole file
        _save(reply, part, have, progress)


def _save(reply: Any, part: Path, have: int, progress: bool) -> None:
    from tqdm import tqdm

    total = have + int(reply.headers.get("Content-Length", 0))
    bar = tqdm(
        desc=part.stem,
        total=total or None,
        initial=have,
        unit="B",
        unit_scale=True,
        disable=not progress,
    )
    with bar, part.open("ab" if have else "wb") as file:
        for chunk in reply.iter_content(1 << 14):
            file.write(chunk)
            bar.update(len(chunk))


def cache_folder() -> Path:
    r"""Return the folder that keeps what has been fetched.

    The environment variable ``COURSEPKG_CACHE`` sets it; by default it is where the system keeps
    such things, as ``~/.cache/coursepkg``.
    """
    return Path(os.environ.get("COURSEPKG_CACHE") or _pooch().os_cache("coursepkg"))


def _pooch() -> Any:
    r"""Import pooch, which in a notebook warns that there is no widget for its progress bars."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import pooch
    return pooch


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise ValueError(f"name={name!r} is no data set here; choose from {', '.join(DATASETS)}")
    return DATASETS[name]


def load(name: str, folder: Path | str | None = None, progress: bool = True) -> ImageSet:
    r"""Fetch a classification data set and read it: ``mnist``, ``fashion-mnist``, ``cifar-10``.

    Parameters and errors are those of :func:`download`; ``oxford-iiit-pet``, whose images differ
    in size, raises ValueError: use :func:`unpack`.

    Returns
    -------
    ImageSet
    """
    if name not in _READERS:
        raise ValueError(f"name={name!r} is not a set of equal images; use unpack({name!r})")
    return _READERS[name](download(name, folder, progress))


def _read_mnist(files: list[Path]) -> ImageSet:
    """The IDX format: big-endian header of 16 (images) or 8 bytes (labels), then bytes."""

    def read(path: Path, header: int) -> NDArray[np.uint8]:
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), dtype=np.uint8, offset=header)

    images = [read(path, 16).reshape(-1, 1, 28, 28) for path in files[::2]]
    labels = [read(path, 8).astype(np.int64) for path in files[1::2]]
    return ImageSet(images[0], labels[0], images[1], labels[1])


def _read_cifar10(files: list[Path]) -> ImageSet:
    """The binary version: records of one label byte and 3 * 32 * 32 pixel bytes, no pickle."""
    with tarfile.open(files[0]) as archive:
        blocks = {
            Path(member.name).name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.name.endswith(".bin")
        }
    train = b"".join(blocks[f"data_batch_{k}.bin"] for k in range(1, 6))
    records = [
        np.frombuffer(block, dtype=np.uint8).reshape(-1, 1 + 3 * 32 * 32)  # (N, 3073)
        for block in (train, blocks["test_batch.bin"])
    ]
    images = [record[:, 1:].reshape(-1, 3, 32, 32) for record in records]
    labels = [record[:, 0].astype(np.int64) for record in records]
    return ImageSet(images[0], labels[0], images[1], labels[1])


_READERS: dict[str, Callable[[list[Path]], ImageSet]] = {
    "mnist": _read_mnist,
    "fashion-mnist": _read_mnist,
    "cifar-10": _read_cifar10,
}


def unpack(name: str, folder: Path | str | None = None, progress: bool = True) -> Path:
    r"""Fetch a data set of archives and unpack it once.

    Parameters and errors are those of :func:`download`.

    Returns
    -------
    Path
        The folder that holds what the archives hold; for ``oxford-iiit-pet``: ``images/*.jpg``,
        ``annotations/trimaps/*.png``, ``annotations/trainval.txt`` and ``annotations/test.txt``.
    """
    files = download(name, folder, progress)
    target = files[0].parent / "unpacked"
    if not target.exists():
        half = target.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        for path in files:
            _pooch().Untar(extract_dir=str(half))(str(path), "download", None)
        half.rename(target)
    return target
