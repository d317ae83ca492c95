"""Round trips, and every kind of wrong file: refused, with the network left as it was."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coursepkg.convolution.layers import BatchNorm2d, Conv2d, Flatten, Linear, ReLU
from coursepkg.convolution.network import Sequential
from coursepkg.convolution.storage import load, save
from coursepkg.testing import assert_close


def network(seed=0, dtype=np.float64, filters=2):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)

    return Sequential(
        {
            "conv": Conv2d(draw(filters, 1, 3, 3), draw(filters)),
            "norm": BatchNorm2d(draw(filters), draw(filters)),
            "relu": ReLU(),
            "flatten": Flatten(),
            "linear": Linear(draw(3, filters * 4)),
        }
    )


def copied(state):
    return {name: array.copy() for name, array in state.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


@pytest.fixture
def saved(path):
    save(network(seed=1), path)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_was_saved_is_loaded_to_the_last_bit(path, dtype):
    first, second = network(1, dtype), network(2, dtype)
    first.layers["norm"].forward(np.random.default_rng(0).normal(size=(5, 2, 3, 3)).astype(dtype))
    live = second.state()
    save(first, path)
    load(second, path)
    assert_close(second.state(), first.state(), rtol=0, atol=0)
    assert all(second.state()[name] is array for name, array in live.items())  # in place
    first.eval(), second.eval()
    x = np.random.default_rng(3).normal(size=(2, 1, 4, 4)).astype(dtype)
    assert_close(second.forward(x), first.forward(x), rtol=0, atol=0)


def test_the_file_holds_plain_arrays_under_the_networks_names(saved):
    with np.load(saved, allow_pickle=False) as file:
        assert_close({name: file[name] for name in file.files}, network(1).state())


def test_the_name_is_taken_as_it_is_and_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "weights.of.today"
    path.write_text("old")
    save(network(1), str(path))
    other = network(2)
    load(other, str(path))
    assert_close(other.state(), network(1).state())
    assert [p.name for p in tmp_path.iterdir()] == ["weights.of.today"]


def test_a_failure_while_writing_leaves_the_old_file_and_no_litter(saved, monkeypatch):
    before = saved.read_bytes()

    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        save(network(2), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_network_without_parameters_is_not_saved(path):
    with pytest.raises(ValueError, match="there is nothing to save"):
        save(Sequential(ReLU()), path)
    assert not path.exists()


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(network(), tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save(network(), tmp_path / "nowhere" / "weights.npz")


class Bomb:
    """Creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def an_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def pickled_objects(path):
    state = network(1).state()
    bomb = np.array([Bomb(path.with_name("exploded"))], dtype=object)
    np.savez(path, **(state | {"conv.bias": bomb}))


def a_pickle(path):
    path.write_bytes(pickle.dumps([network(1).state(), Bomb(path.with_name("exploded"))]))


def truncated(path):
    save(network(1), path)
    path.write_bytes(path.read_bytes()[:-40])


def one_bit_flipped(path):
    save(network(1), path)
    content = bytearray(path.read_bytes())
    content[content.index(network(1).state()["conv.weight"].tobytes()) + 5] ^= 1
    path.write_bytes(content)


def a_huge_claim(path):
    """Claims an array of a million gigabytes in a file of a few bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conv.weight.npy", header.getvalue())


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("weights: 1, 2, 3"),
        an_array,
        pickled_objects,
        a_pickle,
        truncated,
        one_bit_flipped,
        a_huge_claim,
    ],
)
def test_no_whole_archive_of_plain_arrays(path, write):
    write(path)
    untouched = network(2)
    with pytest.raises(
        ValueError, match=r"is no whole \.npz file of plain arrays; use a file that"
    ):
        load(untouched, path)
    assert_close(untouched.state(), network(2).state(), rtol=0, atol=0)
    assert not path.with_name("exploded").exists()


def test_the_bomb_is_live(path):
    a_pickle(path)
    pickle.loads(path.read_bytes())
    assert path.with_name("exploded").exists()


def test_a_member_that_is_no_array(path):
    save(network(1), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"\x80\x04N." if name == "conv.bias.npy" else content)
    untouched = network(2)
    with pytest.raises(ValueError, match=r"weights\.npz"):
        load(untouched, path)
    assert_close(untouched.state(), network(2).state(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"conv.bias": None}, r"missing \['conv.bias'\], unknown \[\]; build the network"),
        ({"more": np.ones(2)}, r"missing \[\], unknown \['more'\]"),
        ({"linear.weight": np.ones((8, 3))}, r"linear\.weight in .* has shape \(8, 3\) and dtype"),
        ({"linear.weight": np.ones((3, 8), np.float32)}, r"dtype float32 but the network needs"),
        ({"conv.bias": np.ones(2, np.int64)}, r"conv\.bias in .* dtype int64 but"),
        ({"conv.bias": np.ones(2, ">f8")}, r"conv\.bias in .* dtype >f8 but"),
        ({"conv.bias": np.float64(1)}, r"conv\.bias in .* has shape \(\) and dtype"),
    ],
)
def test_arrays_that_do_not_match(path, changed, message):
    arrays = network(1).state() | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    untouched = network(2)
    with pytest.raises(ValueError, match=message):
        load(untouched, path)
    assert_close(untouched.state(), network(2).state(), rtol=0, atol=0)


def test_a_read_only_array_is_found_before_anything_is_changed(saved):
    fixed = network(2)
    fixed.layers["linear"].weight.flags.writeable = False
    with pytest.raises(ValueError, match=r"linear\.weight of the network is read-only; build it"):
        load(fixed, saved)
    assert_close(fixed.state(), network(2).state(), rtol=0, atol=0)


def test_networks_of_other_settings(saved):
    for other in (network(2, filters=3), network(2, np.float32), Sequential(ReLU())):
        before = copied(other.state())
        with pytest.raises(ValueError, match="build the network as it was saved"):
            load(other, saved)
        assert_close(other.state(), before, rtol=0, atol=0)


def test_however_a_file_is_cut_off_or_damaged_nothing_wrong_is_loaded(saved):
    content, right = saved.read_bytes(), network(1).state()
    rng = np.random.default_rng(0)
    damaged = [content[:n] for n in range(0, len(content), 97)]
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << rng.integers(8)
        damaged.append(bytes(changed))
    for bytes_ in damaged:
        saved.write_bytes(bytes_)
        other = network(2)
        try:
            load(other, saved)
        except ValueError:
            assert_close(other.state(), network(2).state(), rtol=0, atol=0)
        else:  # the flipped bit was in a date or another field without meaning
            assert_close(other.state(), right, rtol=0, atol=0)
