"""Downloads, against a server of our own on 127.0.0.1."""

import gzip
import hashlib
import io
import re
import struct
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from served import Server

from coursepkg.data import downloads
from coursepkg.data.downloads import (
    DATASETS,
    Dataset,
    cache_folder,
    download,
    fetch,
    load,
    unpack,
)

CONTENT = np.random.default_rng(0).bytes(300_000)


class DataServer(Server):
    def offer(self, monkeypatch, name="set", known=None, **files):
        """List the files as a data set; ``known`` replaces the hash that is published."""
        self.files = {file.replace("__", "."): data for file, data in files.items()}
        hashes = {f: known or hashlib.sha256(d).hexdigest() for f, d in self.files.items()}
        monkeypatch.setitem(DATASETS, name, Dataset(self.url, hashes, 1, "a test"))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0)
    running = DataServer()
    yield running
    running.close()


def kept(folder):
    """The files of a folder but for the locks."""
    return list(folder.glob("[!.]*"))


def get(name="set", **where):
    return download(name, progress=False, **where)


def test_a_good_file_is_kept_and_not_fetched_again(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT, b__bin=b"second")
    paths = get(folder=tmp_path)
    assert [path.name for path in paths] == ["a.bin", "b.bin"]
    assert [path.read_bytes() for path in paths] == [CONTENT, b"second"]
    assert get(folder=tmp_path) == paths
    assert server.requests == [("a.bin", None), ("b.bin", None)]
    assert sorted(path.name for path in kept(tmp_path)) == ["a.bin", "b.bin"]


def test_the_folder_may_be_a_string(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=b"x")
    assert get(folder=str(tmp_path)) == [tmp_path / "a.bin"]


def test_the_default_folder_is_in_the_cache(server, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEPKG_CACHE", str(tmp_path))
    server.offer(monkeypatch, a__bin=b"x")
    assert get() == [tmp_path / "set" / "a.bin"]


def test_a_wrong_hash_is_refused_and_removed(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, known="0" * 64, a__bin=CONTENT)
    with pytest.raises(ValueError, match=r"hash of downloaded file \(a.bin\) does not match"):
        get(folder=tmp_path)
    assert kept(tmp_path) == []


def test_a_damaged_file_is_fetched_again(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    (tmp_path / "a.bin").write_bytes(b"damaged")
    assert get(folder=tmp_path)[0].read_bytes() == CONTENT


def test_a_broken_transfer_goes_on_where_it_stopped(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    server.break_after = [100_000, 50_000]
    assert get(folder=tmp_path)[0].read_bytes() == CONTENT
    starts = [int((asked or "bytes=0-")[6:-1]) for _, asked in server.requests]
    assert starts == sorted(starts)
    assert 0 < starts[1] <= 100_000
    assert starts[1] < starts[2] <= 150_000
    assert [path.name for path in kept(tmp_path)] == ["a.bin"]


def test_a_server_that_knows_no_ranges_sends_all_again(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    server.ranges, server.break_after = False, [100_000]
    assert get(folder=tmp_path)[0].read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_what_arrived_survives_for_another_session(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    server.break_after = [80_000, 60_000, 70_000]
    with pytest.raises(ConnectionError, match="what has arrived is kept"):
        get(folder=tmp_path)
    assert len(server.requests) == 3
    kept = (tmp_path / "a.bin.part").read_bytes()
    assert len(kept) > 60_000
    assert CONTENT.startswith(kept)
    assert get(folder=tmp_path)[0].read_bytes() == CONTENT
    assert server.requests[-1] == ("a.bin", f"bytes={len(kept)}-")


def test_a_part_that_is_whole_already_is_taken(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert get(folder=tmp_path)[0].read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    (tmp_path / "a.bin.part").write_bytes(b"something else")
    with pytest.raises(ValueError, match="does not match"):
        get(folder=tmp_path)
    assert get(folder=tmp_path)[0].read_bytes() == CONTENT


def test_offline_names_address_folder_and_remedy(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    server.close()
    with pytest.raises(ConnectionError) as error:
        get(folder=tmp_path)
    message = str(error.value)
    assert server.url + "a.bin" in message
    assert str(tmp_path) in message
    assert "by hand" in message
    (tmp_path / "a.bin").write_bytes(CONTENT)  # what the message asks for
    assert get(folder=tmp_path) == [tmp_path / "a.bin"]
    server.close = server.http.server_close


@pytest.mark.parametrize("digits", [8, 20, 64])
def test_one_file_by_the_beginning_of_its_hash(digits, server, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEPKG_CACHE", str(tmp_path))
    server.files = {"a-1.pth": CONTENT}
    sha256 = hashlib.sha256(CONTENT).hexdigest()[:digits]
    server.break_after = [100_000]
    path = fetch(server.url + "a-1.pth", sha256, progress=False)
    assert path == cache_folder() / "a-1.pth" == tmp_path / "a-1.pth"
    assert path.read_bytes() == CONTENT
    assert [asked is None for _, asked in server.requests] == [True, False]
    assert fetch(server.url + "a-1.pth", sha256, progress=False) == path
    assert len(server.requests) == 2
    path.write_bytes(b"damaged")
    fetch(server.url + "a-1.pth", sha256, tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in kept(tmp_path)] == ["a-1.pth"]


def test_a_hash_that_begins_otherwise(server, tmp_path):
    server.files = {"a.bin": CONTENT}
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    other = sha256[:8] + ("1" if sha256[8] == "0" else "0")
    with pytest.raises(ValueError, match=f"should begin with {other} and is {sha256}"):
        fetch(server.url + "a.bin", other, tmp_path, progress=False)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("sha256", ["", "1234567", "0" * 65, "g" * 8, "A" * 8, "0" * 8 + "\n"])
def test_what_is_no_hash_is_refused_before_anything_is_fetched(sha256, server, tmp_path):
    with pytest.raises(ValueError, match="has not 8 to 64 of the digits"):
        fetch(server.url + "a.bin", sha256, tmp_path)
    assert server.requests == []


def test_a_file_that_the_server_lacks(server, monkeypatch, tmp_path):
    server.offer(monkeypatch, a__bin=CONTENT)
    server.files.clear()
    with pytest.raises(ConnectionError, match="HTTPError: 404"):
        get(folder=tmp_path)
    assert len(server.requests) == 1  # asking again is no use


@pytest.mark.parametrize(
    ("errors", "requests"), [([503, 500], 3), ([503, 403, 500], 2), ([500, 502, 503], 3)]
)
def test_what_may_pass_is_tried_again_after_a_pause(
    errors, requests, server, monkeypatch, tmp_path
):
    server.offer(monkeypatch, a__bin=CONTENT)
    slept, server.errors = [], list(errors)
    monkeypatch.setattr(downloads, "PAUSE", 0.125)
    monkeypatch.setattr(downloads.time, "sleep", slept.append)
    with pytest.raises(ConnectionError) if len(errors) == 3 else nullcontext():
        assert get(folder=tmp_path)[0].read_bytes() == CONTENT
    assert len(server.requests) == requests
    assert slept == [0.125] * (requests - 1)


def test_tries_are_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="tries=0"):
        fetch("http://127.0.0.1/a", "0" * 8, tmp_path, tries=0)


def test_the_name_is_that_of_the_path(server, tmp_path):
    server.files = {"a.bin": CONTENT}
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    path = fetch(f"{server.url}a.bin?version=1/2#part", sha256, tmp_path, progress=False)
    assert path == tmp_path / "a.bin"


@pytest.mark.parametrize("end", ["", "folder/", "?a=b/c", ".."])
def test_an_address_without_a_name_is_refused(end, server, tmp_path):
    with pytest.raises(ValueError, match="names no file; pass an address whose path ends"):
        fetch(server.url + end, "0" * 8, tmp_path)
    assert server.requests == []


@pytest.fixture
def process(server, tmp_path):
    """Another process, which has fetched the first half of a file and waits for the second."""
    server.files = {"a.bin": CONTENT}
    server.go_on.clear()
    call = "import sys; from coursepkg.data.downloads import fetch; fetch(*sys.argv[1:])"
    arguments = [server.url + "a.bin", hashlib.sha256(CONTENT).hexdigest(), str(tmp_path)]
    part = tmp_path / "a.bin.part"
    with subprocess.Popen(
        [sys.executable, "-c", call, *arguments], stderr=subprocess.PIPE, text=True
    ) as running:
        until = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < until:
            time.sleep(0.01)
        yield running, arguments
        running.kill()


def test_of_two_processes_one_fetches_and_the_other_waits(process, server):
    running, arguments = process
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(fetch, *arguments, progress=False)
        assert wait([ours], 0.5).not_done
        server.go_on.set()
        assert ours.result(60).read_bytes() == CONTENT
    assert "Error" not in running.communicate(timeout=60)[1]
    assert running.returncode == 0
    assert server.requests == [("a.bin", None)]


def test_what_a_killed_process_has_fetched_is_used(process, server):
    running, arguments = process
    running.kill()
    running.wait(60)
    server.go_on.set()
    assert fetch(*arguments, progress=False).read_bytes() == CONTENT
    assert server.requests[1][1].startswith("bytes=1")


def test_progress_goes_to_standard_error(server, monkeypatch, tmp_path, capsys):
    server.offer(monkeypatch, a__bin=CONTENT)
    download("set", tmp_path)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a.bin" in captured.err
    assert "100%" in captured.err


@pytest.mark.parametrize("ask", [download, unpack])
def test_an_unknown_name_is_refused_with_all_names(ask):
    with pytest.raises(ValueError, match=r"'imagenet'.*mnist, fashion-mnist, cifar-10"):
        ask("imagenet")


def test_every_entry_is_complete():
    for dataset in DATASETS.values():
        assert dataset.url.startswith("https://")
        assert dataset.url.endswith("/")
        assert dataset.source
        for sha256 in dataset.files.values():
            assert re.fullmatch("[0-9a-f]{64}", sha256)


def idx(array):
    magic = struct.pack(">HBB", 0, 8, array.ndim)
    return gzip.compress(magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_idx_format_is_read(name, server, monkeypatch, tmp_path):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (7, 3)]
    labels = [rng.integers(0, 10, n, dtype=np.uint8) for n in (7, 3)]
    names = list(DATASETS[name].files)
    files = zip(names, (images[0], labels[0], images[1], labels[1]), strict=True)
    server.offer(monkeypatch, name, **{file: idx(array) for file, array in files})
    result = load(name, tmp_path, progress=False)
    np.testing.assert_array_equal(result.train_images, images[0][:, None])
    np.testing.assert_array_equal(result.test_images, images[1][:, None])
    np.testing.assert_array_equal(result.train_labels, labels[0])
    np.testing.assert_array_equal(result.test_labels, labels[1])
    assert result.train_labels.dtype == np.int64


def tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_the_binary_cifar_is_read(server, monkeypatch, tmp_path):
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (6, 2, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, (6, 2), dtype=np.uint8)
    names = ["test_batch.bin", *(f"data_batch_{k}.bin" for k in range(1, 6))]
    blocks = {
        f"cifar-10-batches-bin/{name}": b"".join(
            bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True)
        )
        for name, x, y in zip(names, images, labels, strict=True)
    }
    blocks["cifar-10-batches-bin/readme.html"] = b"hello"
    server.offer(monkeypatch, "cifar-10", **{"cifar-10-binary.tar.gz": tar(blocks)})
    result = load("cifar-10", tmp_path, progress=False)
    np.testing.assert_array_equal(result.train_images, images[1:].reshape(10, 3, 32, 32))
    np.testing.assert_array_equal(result.train_labels, labels[1:].ravel())
    np.testing.assert_array_equal(result.test_images, images[0])
    np.testing.assert_array_equal(result.test_labels, labels[0])


def test_a_notebook_is_not_told_of_widgets(monkeypatch, tmp_path):
    """Where ipywidgets is missing, tqdm.auto warns as soon as pooch is imported."""
    monkeypatch.delenv("COURSEPKG_CACHE", raising=False)
    code = "from coursepkg.data.downloads import cache_folder; assert cache_folder()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3").execute()
    assert [output.get("text", output) for output in notebook.cells[0].outputs] == []


def test_archives_are_unpacked_once_and_whole(server, monkeypatch, tmp_path):
    files = {
        "images.tar.gz": tar({"images/a.jpg": b"A"}),
        "annotations.tar.gz": tar({"annotations/test.txt": b"a 1 1 1"}),
    }
    server.offer(monkeypatch, "oxford-iiit-pet", **files)
    (tmp_path / "unpacked.part" / "images").mkdir(parents=True)  # an unpacking that was broken off
    (tmp_path / "unpacked.part" / "images" / "half.jpg").write_bytes(b"")
    folder = unpack("oxford-iiit-pet", tmp_path, progress=False)
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*"))
    assert found == ["annotations/test.txt", "images/a.jpg"]
    (folder / "mark").write_text("still here")
    assert (unpack("oxford-iiit-pet", tmp_path, progress=False) / "mark").exists()


def test_images_of_many_sizes_do_not_load_as_one_array():
    with pytest.raises(ValueError, match="unpack"):
        load("oxford-iiit-pet")


def test_published_names_are_in_the_order_that_the_reader_takes():
    for name in ("mnist", "fashion-mnist"):
        kinds = [re.split("-idx", file)[0] for file in DATASETS[name].files]
        assert kinds == ["train-images", "train-labels", "t10k-images", "t10k-labels"]
    assert set(downloads.__all__) <= set(dir(downloads))
