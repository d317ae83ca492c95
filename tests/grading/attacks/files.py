"""Folders and files that are hostile or clumsy before any of their code runs."""

from __future__ import annotations

import json
import os
import socket
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grading.attacks.attack import Scene

__all__ = ["FILES", "File"]

HONEST = "def target(x):\n    return (x * x).cumsum()\n\n\ndef bystander(x):\n    return 3 * x\n"
SHOUT = 'def target(x):\n    raise RuntimeError("secret")\n'


@dataclass(frozen=True)
class File:
    """A folder that is handed in, and what has to come of it.

    Attributes
    ----------
    make : callable
        Fills the folder of a learner.
    points : int
        Of `target` and `bystander` together, of 3.
    says : str
        A pattern that the problems of the submission or the feedback on `target` match.
    """

    make: Callable[[Path, Scene], None]
    points: int
    says: str = ""

    @property
    def name(self) -> str:
        """The name of the learner."""
        return self.make.__name__.replace("_", "-")


def notebook(*cells: str, outputs: object = ()) -> str:
    """Return a notebook of code cells."""
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "source": cell,
                    "metadata": {},
                    "execution_count": None,
                    "outputs": list(outputs),
                }
                for cell in cells
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


def honest_notebook(folder: Path, scene: Scene) -> None:
    (folder / "hw.ipynb").write_text(notebook("%matplotlib inline\n1 / 0", HONEST, "input('?')"))


def outputs_of_100_megabytes(folder: Path, scene: Scene) -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": "a" * 100_000_000}
    (folder / "hw.ipynb").write_text(notebook(HONEST, outputs=[stream]))


def invalid_json(folder: Path, scene: Scene) -> None:
    (folder / "hw.ipynb").write_text(notebook(HONEST)[:-20])


def empty_file(folder: Path, scene: Scene) -> None:
    (folder / "hw.ipynb").write_bytes(b"")


def empty_folder(folder: Path, scene: Scene) -> None:
    pass


def json_that_is_no_notebook(folder: Path, scene: Scene) -> None:
    (folder / "hw.ipynb").write_text('{"cells": {"a": 1}, "nbformat": "x"}')
    (folder / "other.ipynb").write_text("null")
    (folder / "third.ipynb").write_text('{"cells": [null, 3, {"source": 7}, {"cell_type": []}]}')


def json_of_a_million_brackets(folder: Path, scene: Scene) -> None:
    (folder / "hw.ipynb").write_text("[" * 1_000_000)


def json_with_a_huge_number(folder: Path, scene: Scene) -> None:
    (folder / "hw.ipynb").write_text('{"nbformat": ' + "9" * 1_000_000 + "}")


def json_of_a_hundred_thousand_cells(folder: Path, scene: Scene) -> None:
    cell = '{"cell_type":"code","source":"a=1"},'
    (folder / "hw.ipynb").write_text('{"cells": [' + cell * 100_000 + "1]}")


def source_with_nul_bytes(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_bytes(b"\0" + HONEST.encode())


def source_of_noise(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_bytes(bytes(range(256)) * 400)


def source_in_utf_16(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_bytes(HONEST.encode("utf-16"))


def source_with_a_strange_coding(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text("# coding: zlib_codec\n" + HONEST)


def source_with_a_coding_that_runs(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text("# coding: ../../evil\n" + HONEST)
    (folder / "evil.py").write_text("raise SystemExit\n")


def source_nested_without_end(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text("a = " + "(" * 100_000 + ")" * 100_000 + "\n" + HONEST)


def source_with_a_million_signs(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text("a = " + "-" * 1_000_000 + "1\n" + HONEST)


def source_that_compiles_to_a_mountain(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text(HONEST + "\nA = " + "+".join(["1"] * 50_000) + "\ntarget.a = A\n")


def source_with_broken_pieces(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text("def broken(:\n    pass\n\n\n" + HONEST + "\n\nif True\n")


def source_with_surrogates(folder: Path, scene: Scene) -> None:
    cell = HONEST + '\nprint("\\ud800")\n# \ud800\n'
    (folder / "hw.ipynb").write_text(notebook(cell))


def symbolic_link_to_a_secret(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").symlink_to(scene.SECRET_FILE)
    (folder / "more.py").symlink_to(scene.EXERCISE_FILE)


def symbolic_link_to_zeros(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").symlink_to("/dev/zero")
    (folder / "right.py").write_text(HONEST)


def symbolic_link_to_a_neighbours_work(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").symlink_to("../honest-notebook/hw.ipynb")
    (folder / "hw.ipynb").symlink_to("../honest-notebook/hw.ipynb")


def folder_that_is_a_link(folder: Path, scene: Scene) -> None:
    folder.rmdir()
    folder.symlink_to("honest-notebook", target_is_directory=True)


def links_in_a_circle(folder: Path, scene: Scene) -> None:
    (folder / "a.py").symlink_to("b.py")
    (folder / "b.py").symlink_to("a.py")
    (folder / "again").symlink_to(".", target_is_directory=True)
    (folder / "up").symlink_to("..", target_is_directory=True)
    (folder / "right.py").write_text(HONEST)


def fifo(folder: Path, scene: Scene) -> None:
    os.mkfifo(folder / "hw.py")
    (folder / "right.py").write_text(HONEST)


def socket_file(folder: Path, scene: Scene) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.bind("hw.py")
    finally:
        os.chdir(here)
    (folder / "right.py").write_text(HONEST)


def unreadable_file(folder: Path, scene: Scene) -> None:
    (folder / "hw.py").write_text(SHOUT)
    (folder / "hw.py").chmod(0)
    (folder / "hw.ipynb").mkdir()


def sparse_file_of_a_terabyte(folder: Path, scene: Scene) -> None:
    with (folder / "hw.py").open("wb") as file:
        file.truncate(2**40)
    (folder / "right.py").write_text(HONEST)


def two_thousand_files(folder: Path, scene: Scene) -> None:
    for number in range(2000):
        (folder / f"a{number:04}.py").write_text("A = 1\n")


def strange_names(folder: Path, scene: Scene) -> None:
    for name in ("a\nb.py", "<b>.py", "=1+1.py", " .py", "-rf.py", "'\".py", "\u202egnp.py"):
        (folder / name).write_text("A = 1\n")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.py")).write_text("A = 1\n")
    (folder / ("n" * 240 + ".py")).write_text(HONEST)


def zip_with_the_work(folder: Path, scene: Scene) -> None:
    with zipfile.ZipFile(folder / "hw.zip", "w") as archive:
        archive.writestr("homework/hw.py", HONEST)


def zip_bomb(folder: Path, scene: Scene) -> None:
    with (
        zipfile.ZipFile(folder / "hw.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("hw.py", "w", force_zip64=True) as file,
    ):
        for _ in range(600):
            file.write(bytes(2**20))


def zip_of_a_hundred_thousand_files(folder: Path, scene: Scene) -> None:
    with zipfile.ZipFile(folder / "hw.zip", "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.py", "")


def zip_that_climbs_out(folder: Path, scene: Scene) -> None:
    with zipfile.ZipFile(folder / "hw.zip", "w") as archive:
        for name in (f"../../{scene.MARK}zip.py", f"{scene.OUTSIDE}/{scene.MARK}zip.py"):
            archive.writestr(name, HONEST)
        link = zipfile.ZipInfo("link.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, scene.SECRET_FILE)


def zip_that_is_none(folder: Path, scene: Scene) -> None:
    (folder / "hw.zip").write_bytes(b"PK\x03\x04" + b"noise" * 100)


def zip_that_lies_about_its_size(folder: Path, scene: Scene) -> None:
    path = folder / "hw.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hw.py", b"\n" * 50_000_000)
    size, small = (50_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, small))


def modules_called_like_libraries(folder: Path, scene: Scene) -> None:
    for name in ("numpy", "os", "worker", "json", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(f"import sys\n{SHOUT}\nsys.exit(9)\n")
    (folder / "zz.py").write_text("import numpy as np\n" + HONEST)


FILES = (
    File(honest_notebook, 3),
    File(outputs_of_100_megabytes, 3),
    File(invalid_json, 3),
    File(empty_file, 0, "empty"),
    File(empty_folder, 0, "empty|no file|nothing|No "),
    File(json_that_is_no_notebook, 0, "notebook"),
    File(json_of_a_million_brackets, 0, "hw.ipynb"),
    File(json_with_a_huge_number, 0, "hw.ipynb|notebook"),
    File(json_of_a_hundred_thousand_cells, 0, "100000 cells of code; the first 5000 were read"),
    File(source_with_nul_bytes, 3),
    File(source_of_noise, 0),
    File(source_in_utf_16, 3),
    File(source_with_a_strange_coding, 3),
    File(source_with_a_coding_that_runs, 3),
    File(source_nested_without_end, 3),
    File(source_with_a_million_signs, 3),
    File(source_that_compiles_to_a_mountain, 3),
    File(source_with_broken_pieces, 3),
    File(source_with_surrogates, 3),
    File(symbolic_link_to_a_secret, 0, "link"),
    File(symbolic_link_to_zeros, 3, "link"),
    File(symbolic_link_to_a_neighbours_work, 0, "link"),
    File(folder_that_is_a_link, 0, "link"),
    File(links_in_a_circle, 3, "link"),
    File(fifo, 3, "regular|FIFO|pipe|not a file"),
    File(socket_file, 3, "regular|socket|not a file"),
    File(unreadable_file, 0),
    File(sparse_file_of_a_terabyte, 3, "large|big|MB"),
    File(two_thousand_files, 0, "files"),
    File(strange_names, 3),
    File(zip_with_the_work, 3),
    File(zip_bomb, 0, "large|big|MB"),
    File(zip_of_a_hundred_thousand_files, 0, "files|entries"),
    File(zip_that_climbs_out, 0, "outside|path|link|zip"),
    File(zip_that_is_none, 0, "zip"),
    File(zip_that_lies_about_its_size, 0, "zip|large|MB"),
    File(modules_called_like_libraries, 3),
)
