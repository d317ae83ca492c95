"""A small class with its marks, made up for tests: honest learners and one who is not."""

from __future__ import annotations

from typing import Any

from coursepkg.grading.marks import Graded, Mark
from coursepkg.grading.report.gradebook import Gradebook
from coursepkg.grading.store import Override

CONV2D = """\
def conv2d(x, weight, bias=None, stride=1, padding=0):
    n, c_in, h, w = x.shape
    c_out, _, kh, kw = weight.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = (x.shape[2] - kh) // stride + 1, (x.shape[3] - kw) // stride + 1
    out = np.zeros((n, c_out, rows, columns))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = x[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            out[:, :, i, j] = np.tensordot(window, weight, axes=([1, 2, 3], [1, 2, 3]))
    return out if bias is None else out + bias[:, None, None]
"""
FEEDBACK = """\
convolution/output-size: 2 of 3 points
  passed  kernel   1/1
  passed  stride   1/1
  FAILED  padding  0/1   4 of 10 results wrong

Smallest failing input in 'padding':
    output_size(size=5, kernel=3, padding=1)
expected 5
got      4

Hint: padding is added at both ends of the row, not at one of them."""
HINT = "padding is added at both ends of the row, not at one of them."
SECOND = "The kernel slides as it stands: it is not flipped."

#: What a hostile learner writes wherever a text can be written.
HOSTILE = (
    '<script>alert(1)</script><img src=x onerror=alert(1)>"\' onload="x" <!-- </pre></style>'
    "{{ 7*7 }}{% raw %}\x00\x1b[31m\x85\u202egnp.exe\u2066\ud800\uffff javascript:alert(1) &lt;"
)


def mark(exercise: str = "convolution/output-size", **changes: Any) -> Mark:
    """Return a mark of 2 of 3 points, with what is given changed."""
    plain: dict[str, Any] = {
        "exercise": exercise,
        "title": "How many outputs does a window make?",
        "points": 2,
        "out_of": 3,
        "groups": {
            "kernel": {"points": 1, "out_of": 1, "passed": True},
            "stride": {"points": 1, "out_of": 1, "passed": True},
            "padding": {"points": 0, "out_of": 1, "passed": False},
        },
        "status": "graded",
        "feedback": FEEDBACK,
        "hints": (HINT,),
        "mistakes": ("one_side",),
        "place": "homework.ipynb, cell 12",
        "source": "def output_size(size, kernel, stride=1, padding=0):\n"
        "    return (size + padding - kernel) // stride + 1\n",
        "published": False,
        "fingerprint": "f" * 16,
    }
    return Mark(**{**plain, **changes})


def conv2d(points: int = 4, **changes: Any) -> Mark:
    """Return a mark for a second exercise, of two groups: 0, 2 or 4 points."""
    groups = {
        "values": {"points": 2 if points else 0, "out_of": 2, "passed": points > 0},
        "padding": {"points": 2 if points == 4 else 0, "out_of": 2, "passed": points == 4},
    }
    plain = {
        "title": "Convolution by loops",
        "points": points,
        "out_of": 4,
        "groups": groups,
        "feedback": f"convolution/conv2d: {points} of 4 points",
        "hints": () if points == 4 else (SECOND,),
        "mistakes": () if points == 4 else ("flipped",),
        "source": CONV2D,
    }
    return mark("convolution/conv2d", **{**plain, **changes})


def graded(learner: str, *marks: Mark, **changes: Any) -> Graded:
    """Return the marks of one submission."""
    plain: dict[str, Any] = {"digest": "d" * 16, "problems": (), "isolation": "namespaces"}
    return Graded(learner, marks=marks or (mark(), conv2d()), **{**plain, **changes})


def full(**changes: Any) -> Mark:
    """Return the mark of an answer that is right."""
    groups = {
        g: {"points": 1, "out_of": 1, "passed": True} for g in ("kernel", "stride", "padding")
    }
    feedback = "convolution/output-size: 3 of 3 points\nAll 40 results are right."
    plain = {"points": 3, "groups": groups, "feedback": feedback, "hints": (), "mistakes": ()}
    return mark(**{**plain, **changes})


def nothing(status: str) -> Mark:
    """Return the mark of an answer that was not run."""
    groups = {g: {"points": 0, "out_of": 2, "passed": False} for g in ("values", "padding")}
    told = "Nothing to grade: no conv2d was found in what you handed in."
    return conv2d(0, groups=groups, status=status, feedback=told, hints=(), source="", place="")


def hostile() -> Graded:
    """Return the marks of a learner who wrote tags, controls and code into every text."""
    bad = mark(feedback=HOSTILE, source=HOSTILE * 3, place=HOSTILE, hints=(HOSTILE, HINT))
    return graded("../" + HOSTILE, bad, conv2d(2, source="x" * 1_000_000), problems=(HOSTILE,))


OVERRIDES = (
    Override(
        "ada",
        "convolution/output-size",
        2.0,
        "first thought",
        "Prof. X",
        "2026-03-01T10:00:00+00:00",
    ),
    Override(
        "ada",
        "convolution/output-size",
        3.0,
        "The statement\nwas ambiguous.",
        "Prof. X",
        "2026-03-02T10:00:00+00:00",
    ),
)


def book() -> Gradebook:
    """Return a class of six."""
    return Gradebook.of(
        [
            graded("ada", mark(), conv2d(2)),
            graded("grace", full(), conv2d(4)),
            graded("Lovelace, Ada", full(published=True), conv2d(2, hints=(SECOND, "Another."))),
            graded("emmy", full(), nothing("missing"), problems=("homework.ipynb is no JSON",)),
            graded("kurt", mark(), conv2d(0), isolation="none"),
            hostile(),
        ],
        OVERRIDES,
    )
