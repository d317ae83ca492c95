"""AlexNet's normalisation: the constants of the paper in the operator of the course."""

import torch

from coursepkg.architectures.lrn import local_response_norm
from coursepkg.convolution import normalization
from coursepkg.testing import assert_close


def test_it_is_the_operator_of_the_part_on_convolution():
    a = 50 * torch.randn(2, 9, 3, 4, generator=torch.Generator().manual_seed(0))
    ours = normalization.local_response_norm(a.numpy(), size=5, alpha=5e-4, beta=0.75, k=2)
    assert_close(local_response_norm()(a).numpy(), ours)


def test_it_is_the_formula_of_the_paper_where_the_window_is_whole():
    a = 50 * torch.randn(1, 5, 1, 1, generator=torch.Generator().manual_seed(1))
    middle = a[0, 2, 0, 0] / (2 + 1e-4 * a.square().sum()) ** 0.75  # alpha is not divided by n
    assert_close(local_response_norm()(a)[0, 2, 0, 0], middle)
