import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from coursepkg.architectures.bilinear import bilinear_points
from coursepkg.architectures.deform_conv import bilinear_sample
from coursepkg.testing import assert_close

RNG = np.random.default_rng(0)


def test_it_is_what_scipy_reads():
    image = RNG.normal(size=(5, 7))
    points = RNG.uniform(-3, 9, size=(200, 2))
    framed = np.pad(image, 4)  # SciPy fades to the frame of zeros in the same way
    expected = map_coordinates(framed, points.T + 4, order=1, mode="grid-constant")
    assert_close(bilinear_points(image, points), expected)


def test_it_is_what_the_deformable_convolution_reads():
    image = RNG.normal(size=(4, 3))
    points = np.concatenate([RNG.uniform(-2, 5, size=(50, 2)), np.argwhere(np.ones((6, 6))) - 1.0])
    expected = bilinear_sample(
        torch.from_numpy(image)[None, None], torch.from_numpy(points)[None, :, None]
    )
    assert_close(bilinear_points(image, points), expected.flatten().numpy())


def test_pixels_read_themselves_in_any_shape_of_points():
    image = RNG.normal(size=(3, 4)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(3), np.arange(4), indexing="ij"), axis=-1)
    assert_close(bilinear_points(image, grid), image.astype(float))
    assert bilinear_points(image, np.array([1, 2])).shape == ()


def test_planes_are_read_exactly_inside():
    rows, columns = np.mgrid[:6, :5]
    points = RNG.uniform(0, 4, size=(30, 2))
    values = bilinear_points(2.0 * rows - 3.0 * columns + 1, points)
    assert_close(values, points @ [2.0, -3.0] + 1)


def test_it_fades_to_zero_over_one_pixel():
    points = np.array([[-1.0, 0], [-0.75, 0], [-0.25, 0], [0, 0], [0.5, 0], [1, 0], [40, 0]])
    expected = np.array([0, 0.25, 0.75, 1, 0.5, 0, 0])
    assert_close(bilinear_points(np.ones((1, 1)), points), expected)


def test_errors_name_shapes_and_remedy():
    for image, points in [(np.ones(3), np.ones(2)), (np.ones((3, 3)), np.ones((2, 3)))]:
        with pytest.raises(ValueError, match=r"image of shape .* use \(H, W\) and \(\.\.\., 2\)"):
            bilinear_points(image, points)
