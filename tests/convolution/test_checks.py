"""What is refused, and what the message says."""

import numpy as np
import pytest

from coursepkg.convolution.checks import check_floats, check_shape


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 2, 3, 4)])
def test_arrays_of_real_numbers_pass(dtype, shape):
    check_floats("input", np.zeros(shape, dtype))
    check_floats("input", np.zeros(shape, dtype), axes=len(shape))
    check_shape("input", np.zeros(shape, dtype), shape, np.dtype(dtype), "never said")


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16", "complex128", "U1"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=r"grad has dtype .*; convert it, e\.g\. grad\.astype"):
        check_floats("grad", np.zeros(2, dtype))


@pytest.mark.parametrize("value", [None, 1.0, [1.0, 2.0], np.float64(1)])
def test_what_is_no_array_is_refused(value):
    sentence = f"input is a {type(value).__name__}; pass a NumPy array"
    with pytest.raises(ValueError, match=sentence):
        check_floats("input", value)
    with pytest.raises(ValueError, match=sentence):
        check_shape("input", value, (), np.dtype(float), "")


def test_too_few_axes_are_refused():
    with pytest.raises(ValueError, match=r"input has shape \(3,\); pass at least 2 axes"):
        check_floats("input", np.zeros(3), axes=2)


def test_another_shape_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"w has shape \(3,\) where \(2,\) is needed; take two$"):
        check_shape("w", np.zeros(3), (2,), np.dtype(float), "take two")


def test_another_dtype_is_refused():
    sentence = r"w is float32 where float64 is needed; convert it, e\.g\. w\.astype\(np\.float64\)"
    with pytest.raises(ValueError, match=sentence):
        check_shape("w", np.zeros(2, np.float32), (2,), np.dtype(float), "take two")
