"""What learners hand in is found, and read without trusting it."""

import errno
import io
import os
import socket
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from coursepkg.grading import submissions
from coursepkg.grading.submissions import Submission, find

CODE = b"def f():\n    return 1\n"


def write(folder: Path, *names: str, data: bytes = CODE) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(folder: Path) -> Submission:
    (entry,) = find(folder)
    return entry.read()


def found(folder: Path) -> dict[str, list[str]]:
    return {entry.learner: sorted(entry.read().files) for entry in find(folder)}


def test_each_folder_or_file_is_a_learner(tmp_path):
    write(tmp_path, "cho/hw1.ipynb", "cho/part 2/deep/hw2.MD", "ann.ipynb", "Ben Öz/a.py", "d.myst")
    write(tmp_path, "eve.zip", data=zipped({"hw/a.py": CODE, "b.ipynb": CODE}))
    assert found(tmp_path) == {
        "Ben Öz": ["a.py"],
        "ann": ["ann.ipynb"],
        "cho": ["hw1.ipynb", "part 2/deep/hw2.MD"],
        "d": ["d.myst"],
        "eve": ["b.ipynb", "hw/a.py"],
    }
    assert all(entry.read().problems == () for entry in find(tmp_path))
    assert find(tmp_path)[1].read().files == {"ann.ipynb": CODE}


def test_what_editors_and_systems_leave_behind_is_ignored(tmp_path):
    write(
        tmp_path, ".DS_Store", "__MACOSX/ann/x.py", "ann/a.py", "ann/.git/hook.py", "ann/data.csv"
    )
    write(tmp_path, "ann/.ipynb_checkpoints/a.ipynb", "ann/__pycache__/a.py")
    assert found(tmp_path) == {"ann": ["a.py"]}
    assert read(tmp_path).problems == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Ann Lee_12345_assignsubmission_file_/hw1.ipynb"], {"Ann Lee_12345": ["hw1.ipynb"]}),
        (["Ann Lee_12345_assignsubmission_file/hw1.ipynb"], {"Ann Lee_12345": ["hw1.ipynb"]}),
        (["Ann Lee_12345_assignsubmission_file_hw1.ipynb"], {"Ann Lee_12345": ["hw1.ipynb"]}),
        (["leeann_1234_56789_hw1.ipynb"], {"leeann_1234": ["hw1.ipynb"]}),
        (["leeann_LATE_1234_56789_hw_1.py"], {"leeann_1234": ["hw_1.py"]}),
        (["leeann_1234_567_a.py", "leeann_1234_568_b.py"], {"leeann_1234": ["a.py", "b.py"]}),
        (["a_1234_567_a.py", "a_4321_568_a.py"], {"a_1234": ["a.py"], "a_4321": ["a.py"]}),
        (["ann_1_2_hw.py"], {"ann_1_2_hw": ["ann_1_2_hw.py"]}),
    ],
)
def test_names_that_learning_platforms_give_are_understood(tmp_path, names, expected):
    write(tmp_path, *names)
    assert found(tmp_path) == expected
    assert all(entry.read().problems == () for entry in find(tmp_path))


def test_a_learner_with_a_folder_and_a_file_is_told_and_nothing_is_lost(tmp_path):
    write(tmp_path, "ann/ann.py", "ann.py", "ann.ipynb")
    submission = read(tmp_path)
    assert sorted(submission.files) == ["ann.ipynb", "ann.py", "ann.py/ann.py"]
    assert submission.problems == (
        "handed in more than once, as ann and ann.ipynb and ann.py; all of it was read",
    )


def test_a_submission_without_anything_to_grade_says_what_was_found(tmp_path):
    write(tmp_path, "ann/report.docx", "ann/photo.heic")
    submission = read(tmp_path)
    assert submission.files == {}
    assert submission.problems == (
        "nothing to grade; hand in .ipynb, .py, .md, .myst or .zip: photo.heic, report.docx",
    )


def test_an_empty_file_is_kept_and_told(tmp_path):
    write(tmp_path, "ann/hw1.py", "ann/__init__.py", data=b"")
    submission = read(tmp_path)
    assert submission.files == {"hw1.py": b"", "__init__.py": b""}
    assert submission.problems == ("hw1.py is empty",)


def test_symbolic_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    write(secret, "answers.py")
    folder = tmp_path / "in"
    write(folder, "ann/a.py", "cho/a.py")
    (folder / "ann/link.py").symlink_to(secret / "answers.py")
    (folder / "ann/folder").symlink_to(secret)
    (folder / "ben.py").symlink_to(secret / "answers.py")
    (folder / "dan").symlink_to(secret)
    ann, ben, cho, dan = (entry.read() for entry in find(folder))
    assert sorted(ann.files) == ["a.py"]
    assert "link.py is a symbolic link; hand in the file itself" in ann.problems
    assert "folder is a symbolic link; hand in the file itself" in ann.problems
    assert cho.problems == ()
    assert ben.files == dan.files == {}
    assert "dan is a symbolic link" in dan.problems[0]


def test_a_link_that_takes_the_place_of_a_file_meanwhile_is_not_followed(tmp_path, monkeypatch):
    write(tmp_path, "ann/a.py", "secret")
    real = os.stat
    regular = real(tmp_path / "ann/a.py")
    (tmp_path / "ann/b.py").symlink_to(tmp_path / "secret")
    monkeypatch.setattr(os, "stat", lambda p, **o: regular if p == "b.py" else real(p, **o))
    submission = find(tmp_path)[0].read()
    assert sorted(submission.files) == ["a.py"]
    assert "b.py could not be read: Too many levels of symbolic links" in submission.problems


@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_refused_without_waiting(tmp_path, monkeypatch):
    (tmp_path / "ann").mkdir()
    os.mkfifo(tmp_path / "ann/pipe.py")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("ann/socket.py")
        submission = read(tmp_path)
    assert submission.files == {}
    assert submission.problems[:2] == (
        "pipe.py is a pipe; hand in the file itself",
        "socket.py is a socket; hand in the file itself",
    )
    assert submissions._kind(Path("/dev/null").stat().st_mode) == "a device"


@pytest.mark.timeout(20)
def test_a_pipe_that_takes_the_place_of_a_file_meanwhile_does_not_block(tmp_path, monkeypatch):
    write(tmp_path, "ann/a.py")
    os.mkfifo(tmp_path / "ann/b.py")
    real = os.stat
    regular = real(tmp_path / "ann/a.py")
    monkeypatch.setattr(os, "stat", lambda p, **o: regular if p == "b.py" else real(p, **o))
    assert read(tmp_path).problems == ("b.py is a pipe; hand in the file itself",)


def test_files_are_limited_in_size_and_number(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_FILE", 3 * 2**20)
    monkeypatch.setattr(submissions, "MAX_LEARNER", 4 * 2**20)
    monkeypatch.setattr(submissions, "MAX_FILES", 3)
    write(tmp_path, "ann/a.py", data=bytes(3 * 2**20))
    write(tmp_path, "ann/b.py", data=bytes(3 * 2**20 + 1))
    write(tmp_path, "ann/c.py", data=bytes(2 * 2**20))
    write(tmp_path, "ann/d.py", "ann/e.py", "ann/f.py")
    submission = read(tmp_path)
    assert sorted(submission.files) == ["a.py", "d.py", "e.py"]
    assert submission.problems == (
        "b.py has 3 MB, more than the 3 MB of one file",
        "c.py was left out: more than 4 MB in all",
        "f.py was left out: more than 3 files",
    )


def test_crowds_of_folders_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_SEEN", 30)
    write(tmp_path, *(f"ann/{i:03}/a.py" for i in range(40)))
    submission = read(tmp_path)
    assert len(submission.files) == 15
    assert submission.problems == ("only 30 files and folders were looked at",)


def test_folders_inside_folders_are_limited(tmp_path):
    write(tmp_path, "ann/" + "a/" * 19 + "near.py", "ann/" + "b/" * 20 + "far.py")
    submission = read(tmp_path)
    assert [name.rpartition("/")[2] for name in submission.files] == ["near.py"]
    assert submission.problems == (f"{'/'.join('b' * 20)} lies more than 20 folders deep",)


def test_a_crowd_of_problems_is_cut_short(tmp_path):
    write(tmp_path, "ann/a.py")
    for i in range(30):
        (tmp_path / f"ann/{i:02}.py").symlink_to("a.py")
    problems = read(tmp_path).problems
    assert len(problems) == 21
    assert problems[-1] == "and 10 more problems"


def test_names_become_printable_and_stay_different(tmp_path):
    names = ["a\nb.py", os.fsdecode(b"a\xffb.py"), "a\\nb.py", "a\u202eb.py", "가.py"]
    write(tmp_path, *names)
    learners = {entry.learner for entry in find(tmp_path)}
    assert learners == {r"a\nb", r"a\udcffb", r"a\\nb", r"a\u202eb", "가"}
    for entry in find(tmp_path):
        assert [name.removesuffix(".py") for name in entry.read().files] == [entry.learner]


def test_a_file_without_permission_is_told(tmp_path, monkeypatch):
    write(tmp_path, "ann/a.py", "ann/b.py")
    real = os.open

    def denied(path, *args, **options):  # as it would be for anybody but root
        if path == "b.py":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", denied)
    submission = read(tmp_path)
    assert sorted(submission.files) == ["a.py"]
    assert submission.problems == ("b.py could not be read: Permission denied",)


def test_what_the_instructor_gets_wrong_is_told_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; pass the one"):
        find(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is empty; put one folder or file"):
        find(tmp_path)
    write(tmp_path, "all.zip")
    with pytest.raises(ValueError, match="is a file; unpack it"):
        find(tmp_path / "all.zip")


def test_the_digest_depends_on_names_contents_and_problems():
    some = [
        Submission.of("ann", {"a.py": b"1"}),
        Submission.of("ann", {"a.py": b"2"}),
        Submission.of("ann", {"b.py": b"1"}),
        Submission.of("ann", {"a.py": b"1", "b.py": b""}),
        Submission.of("ann", {"a.py": b"1"}, ("b.py is a pipe",)),
        Submission.of("ann", {"a": b".py1"}),
    ]
    assert len({submission.digest for submission in some}) == len(some)
    assert Submission.of("ann", {"a": b"", "b": b""}) == Submission.of("ann", {"b": b"", "a": b""})


# --- zip files


def unzipped(tmp_path: Path, data: bytes) -> Submission:
    write(tmp_path, "ann.zip", data=data)
    return read(tmp_path)


def test_files_of_equal_name_in_two_zips_are_both_kept(tmp_path):
    write(tmp_path, "ann/1.zip", "ann/2.zip", data=zipped({"hw.py": CODE}))
    assert sorted(read(tmp_path).files) == ["2.zip/hw.py", "hw.py"]


def test_zips_inside_zips_are_not_opened(tmp_path):
    inner = zipped({"a.py": CODE})
    submission = unzipped(tmp_path, zipped({"inner.zip": inner}, zipfile.ZIP_STORED))
    assert submission.files == {}
    assert "inner.zip in ann.zip" in submission.problems[0]


@pytest.mark.parametrize("name", ["../e.py", "/etc/e.py", "a/../../e.py", r"C:\e.py", r"..\e.py"])
def test_paths_out_of_a_zip_are_refused(tmp_path, name):
    submission = unzipped(tmp_path, zipped({name: CODE, "good.py": CODE}))
    assert submission.files == {"good.py": CODE}
    assert "points out of the folder" in submission.problems[0]


def test_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    submission = unzipped(tmp_path, zipped({link: b"/etc/passwd", "good.py": CODE}))
    assert submission.files == {"good.py": CODE}
    assert "link.py in ann.zip is a symbolic link" in submission.problems[0]


def refuse_to_inflate(monkeypatch) -> None:
    def inflate(*_):
        raise AssertionError("it was inflated")

    monkeypatch.setattr(zipfile.ZipFile, "open", inflate)


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    bomb = zipped({"bomb.py": bytes(50 * 2**20)})
    refuse_to_inflate(monkeypatch)
    submission = unzipped(tmp_path, bomb)
    assert submission.files == {}
    assert submission.problems[0] == (
        "bomb.py in ann.zip would grow 300-fold or more, to 50 MB, so it was left out"
    )


def test_a_bomb_of_many_files_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_LEARNER", 4 * 2**20)
    bomb = zipped({f"{i}.py": bytes(2**20) for i in range(5)})
    refuse_to_inflate(monkeypatch)
    assert "would hold 5 files of 5 MB and was not opened" in unzipped(tmp_path, bomb).problems[0]


def test_a_zip_of_very_many_files_is_not_even_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_SEEN", 100)
    bomb = zipped({f"{i}.py": b"" for i in range(101)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "holds more than 100 files" in unzipped(tmp_path, bomb).problems[0]


def test_a_size_that_is_a_lie_is_found_out(tmp_path):
    data = zipped({"big.py": bytes(5 * 2**20), "good.py": CODE})
    size = struct.pack("<I", 5 * 2**20)
    submission = unzipped(tmp_path, data.replace(size, struct.pack("<I", 1000)))
    assert submission.files == {"good.py": CODE}
    assert "big.py in ann.zip cannot be unpacked (BadZipFile: Bad CRC-32" in submission.problems[0]


def test_a_size_of_many_terabytes_is_refused(tmp_path):
    info = zipfile.ZipInfo("a.py")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, CODE)
        info.file_size = 2**45  # goes into the zip64 field of the directory
    submission = unzipped(tmp_path, buffer.getvalue())
    assert submission.files == {}
    assert "a.py in ann.zip would grow" in submission.problems[0]


def test_a_packing_without_limits_is_refused(tmp_path, monkeypatch):
    data = zipped({"a.py": CODE}, zipfile.ZIP_BZIP2)
    refuse_to_inflate(monkeypatch)
    assert "is packed in an unusual way" in unzipped(tmp_path, data).problems[0]


def test_an_encrypted_file_is_told(tmp_path):
    info = zipfile.ZipInfo("a.py")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, CODE)
        info.flag_bits |= 0x1
    assert "is encrypted; zip it without" in unzipped(tmp_path, buffer.getvalue()).problems[0]


@pytest.mark.parametrize("cut", [1, 30, 60, 100])
def test_a_broken_zip_is_told(tmp_path, cut):
    submission = unzipped(tmp_path, zipped({"a.py": CODE * 9})[:-cut])
    assert submission.files == {}
    assert "ann.zip is no zip file that can be opened" in submission.problems[0]


def test_whatever_byte_of_a_zip_is_changed_what_is_read_is_right_or_told(tmp_path):
    data = zipped({"a.py": CODE, "ä/b.ipynb": CODE})
    path = tmp_path / "ann.zip"
    for i in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            path.write_bytes(data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :])
            submission = read(tmp_path)
            assert set(submission.files.values()) <= {CODE}, (i, flip)
            assert submission.files or submission.problems, (i, flip)


def test_names_in_a_zip_are_decoded(tmp_path):
    data = zipped({"xy.py": CODE, "folder-b.py": CODE})
    data = data.replace(b"xy.py", "é.py".encode()).replace(b"folder-b.py", rb"folder\b.py")
    assert sorted(unzipped(tmp_path, data).files) == ["folder/b.py", "é.py"]


def test_a_name_in_a_zip_that_is_not_what_it_claims_to_be_is_told(tmp_path):
    data = zipped({"é.py": CODE}).replace("é.py".encode(), b"\xff\xfe.py")
    (problem, _) = unzipped(tmp_path, data).problems
    assert "ann.zip is no zip file that can be opened (UnicodeDecodeError" in problem


def test_a_file_is_read_only_when_asked_for(tmp_path):
    write(tmp_path, "ann.py")
    (entry,) = find(tmp_path)
    write(tmp_path, "ann.py", data=b"later")
    assert entry.read().files == {"ann.py": b"later"}
