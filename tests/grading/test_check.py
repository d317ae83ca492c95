"""The self-check, as a learner meets it."""

import operator
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate2d

import coursepkg
from coursepkg import check
from coursepkg.convolution import layers
from coursepkg.convolution.arithmetic import output_size
from coursepkg.grading import sample_class
from coursepkg.grading.check import Result

SIZE, CONV, LAYER = "convolution/output-size", "convolution/conv2d", "convolution/conv2d-layer"


def right(size, kernel, stride=1, padding=0, dilation=1):
    values = (size, kernel, stride, padding, dilation)
    if not all(isinstance(v, int) for v in values) or min(size, kernel, stride, dilation) < 1:
        raise ValueError("integers, please")
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if padding < 0 or room < 0:
        raise ValueError("the window does not fit")
    return room // stride + 1


def test_a_right_answer(capsys):
    result = check(SIZE, right)
    assert capsys.readouterr().out == f"{SIZE}: 6 of 6 points\nAll 59 results are right.\n"
    assert result.passed
    assert (result.points, result.out_of, result.hints) == (6, 6, ())


def test_a_known_mistake(capsys):
    def one_short(size, kernel, stride=1, padding=0, dilation=1):
        return right(size, kernel, stride, padding, dilation) - 1

    result = check(SIZE, one_short)
    assert not result.passed
    assert result.points == 1
    assert result.groups == {g: g == "errors" for g in result.groups}
    out = capsys.readouterr().out
    assert out == result.text + "\n"
    assert "FAILED  kernel" in out
    assert "passed  errors" in out
    assert "    output_size(size=2, kernel=2)\nexpected  1\ngot       0\n" in out
    assert out.count("Hint: ") == 1
    assert "n + 1 places" in out


def test_arrays_are_shown_so_that_they_can_be_pasted():
    def flipped(input, weight, **options):
        (image,), (kernel,) = input[0], weight[0]
        return np.array([[[[np.sum(image * kernel[::-1, ::-1])]]]])

    text = check(CONV, flipped).text
    start = text.index("    input = ")
    source = text[start : text.index("    conv2d(input=input, weight=weight)")]
    space = {"np": np}
    exec("\n".join(line[4:] for line in source.splitlines()), space)
    assert space["input"].shape[:2] == space["weight"].shape[:2] == (1, 1)


def test_a_driver_exercise_shows_its_inputs_and_counts_each_part():
    class Conv2d:
        def __init__(self, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
            self.weight, self.bias = weight, bias

        def forward(self, input):
            n, _, height, width = input.shape
            o, _, kh, kw = self.weight.shape
            out = np.zeros((n, o, height - kh + 1, width - kw + 1))
            for place in np.ndindex(out.shape):
                _, _, i, j = place
                window = input[place[0], :, i : i + kh, j : j + kw]
                out[place] = np.sum(window * self.weight[place[1]])
            return out if self.bias is None else out + self.bias[:, None, None]

        def backward(self, grad):
            raise NotImplementedError

    result = check(LAYER, Conv2d)
    assert result.groups["output"]
    assert result.points == 1
    assert "Smallest failing input in 'grad_input'" in result.text
    assert "    grad = np.array([[[[1., 2.]]]])" in result.text
    assert "not written yet" in result.text


def raising(size, kernel, stride=1, padding=0, dilation=1):
    return 1 // 0


def test_an_error_is_told_with_the_learners_line():
    text = check(SIZE, raising).text
    assert "raised ZeroDivisionError: integer division or modulo by zero" in text.replace("\n", " ")
    assert "in raising: return 1 // 0" in text.replace("\n", " ")
    assert "Traceback" not in text
    assert "coursepkg/grading" not in text


def test_a_missing_return():
    def forgetful(size, kernel, stride=1, padding=0, dilation=1):
        print("looking at", size)

    text = check(SIZE, forgetful).text
    assert "got       None" in text
    assert "is a return missing?" in text
    assert "Your code printed:\n    looking at 2" in text


def test_long_output_is_cut():
    def chatty(size, kernel, **options):
        print("\n".join(map(str, range(1000))))

    assert check(SIZE, chatty).text.endswith("    0\n    1\n    2\n    3\n    4\n    ...")


def test_an_endless_loop():
    def endless(size, kernel, stride=1, padding=0, dilation=1):
        while kernel:
            pass

    start = time.monotonic()
    text = check(SIZE, endless).text
    assert time.monotonic() - start < 10
    assert "after 2 s" in text
    assert "not run" in text


def test_a_changed_argument():
    def conv2d(input, weight, bias=None, **options):
        input *= 1.5
        return input / 1.5

    assert "changed in place" in check(CONV, normalised).text
    assert "Problem" in check(CONV, conv2d).text


def normalised(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    kh, kw = weight.shape[2:]
    if input.shape[:2] != (1, 1):
        raise NotImplementedError
    out = np.zeros((1, 1, input.shape[2] - kh + 1, input.shape[3] - kw + 1), input.dtype)
    for i, j in np.ndindex(out.shape[2:]):
        out[0, 0, i, j] = np.sum(input[0, 0, i : i + kh, j : j + kw] * weight[0, 0])
    input -= 1
    return out


def test_what_is_not_written_yet():
    def output_size(size, kernel, stride=1, padding=0, dilation=1):
        raise NotImplementedError

    result = check(SIZE, output_size)
    assert result.points == 0
    assert "Nothing to check yet" in result.text


@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        (SIZE, "output_size", "You passed the text 'output_size'."),
        (SIZE, 5, "You passed a value of type int"),
        (SIZE, None, "You passed a value of type NoneType"),
        (SIZE, np, "You passed a value of type module"),
        (SIZE, dict, "You passed the class dict, but a function is wanted"),
        (LAYER, right, "You passed a value of type function, but a class is wanted"),
    ],
)
def test_the_wrong_thing(id, answer, words):
    result = check(id, answer)
    assert words in result.text
    assert f'check("{id}", ' in result.text
    assert (result.points, result.passed) == (0, False)


def test_short_cuts_are_refused():
    def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return correlate2d(input, weight)

    assert (
        "scipy may not be used here: this exercise is to be solved without"
        in check(CONV, conv2d).text
    )


def test_packages_that_the_grader_does_not_have_are_refused():
    def size(size, kernel, stride=1, padding=0, dilation=1):
        return np.asarray(correlate2d)

    text = check(SIZE, size).text
    assert "scipy may not be used here: NumPy and the standard library are what this" in text


def test_numpy_the_standard_library_and_the_answers_own_module_may_be_used():
    def output_size(*values, **options):
        return right(*map(operator.index, values), **options) + int(np.zeros(()))

    assert check(SIZE, output_size).passed


def test_a_private_exercise_is_checked_where_its_folder_is_named():
    folder = Path(sample_class.__file__).parent
    assert check("exercises/pool", lambda **_: None, [folder]).points == 0
    with pytest.raises(ValueError, match="there is no exercise"):
        check("exercises/pool", lambda **_: None)


def test_the_courses_own_function_is_no_answer_inside_another():
    assert (
        "coursepkg may not be used here"
        in check(SIZE, lambda **options: output_size(**options)).text
    )
    assert check(SIZE, output_size).passed


class Unprintable:
    def __repr__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize(
    "value", [Unprintable(), [Unprintable()], np.array([Unprintable()]), {}, "x" * 1000, iter([1])]
)
def test_strange_results_are_reported_and_not_raised(value):
    result = check(SIZE, lambda **_: value)
    assert result.points == 0
    assert "Smallest failing input" in result.text
    assert max(map(len, result.text.splitlines())) < 200


def test_an_answer_that_wraps_itself_is_no_error():
    def loop(*values, **options):
        return right(*values, **options)

    loop.__wrapped__ = loop
    assert check(SIZE, loop).passed


def test_an_unknown_id_raises():
    with pytest.raises(ValueError, match="perhaps 'convolution/output-size'"):
        check("convolution/output-sizes", right)


def test_equal_calls_print_equal_texts():
    assert check(SIZE, raising).text == check(SIZE, raising).text


def test_a_result_is_quiet_in_a_notebook_and_short_elsewhere():
    from IPython.core.formatters import DisplayFormatter

    result = Result("a/b", 1, 2, {"x": True, "y": False}, (), "text")
    assert DisplayFormatter().format(result) == ({}, {})
    assert repr(result) == "<a/b: 1 of 2 points>"


def test_the_package_offers_check_and_version():
    from importlib.metadata import version

    assert coursepkg.__version__ == version("coursepkg")
    assert set(coursepkg.__all__) <= set(dir(coursepkg))
    assert coursepkg.check is check


def test_checking_a_numpy_exercise_does_not_import_torch():
    code = (
        "import sys, coursepkg\n"
        f"for id in {[SIZE, CONV, LAYER]}:\n"
        "    coursepkg.check(id, lambda: 0)\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'scipy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_subclass_of_the_courses_own_class_is_no_answer():
    class Conv2d(layers.Conv2d):
        pass

    result = check(LAYER, Conv2d)
    assert result.points == 0
    assert "coursepkg may not be used here" in result.text


def test_what_works_counts_although_the_rest_is_not_written_yet():
    class Conv2d:
        def __init__(self, weight, bias=None, **options):
            made = sys.modules["coursepkg.convolution.layers"].Conv2d
            self.layer = made(weight, bias, **options)

        def forward(self, input):
            return self.layer.forward(input)

        def backward(self, grad):
            raise NotImplementedError

    result = check("convolution/conv2d-layer", Conv2d)
    assert result.points == 1
    assert "passed  output" in result.text
    assert "Nothing to check yet" not in result.text
