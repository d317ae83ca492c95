"""What can be done with a package that is not there, and what not."""

import dataclasses
import operator
import types
import typing

import numpy as np
import pytest

from coursepkg.grading.worker.absent import Absent
from coursepkg.grading.worker.packages import packages_used

torch = Absent(ImportError("torch may not be used here", name="torch.nn"))


def test_it_may_stand_in_annotations():
    def f(x: int | torch.Tensor, y: torch.Tensor | None, z: torch.nn.List[int]): ...

    @dataclasses.dataclass
    class Row:
        x: torch.Tensor
        y: typing.Optional[torch.Tensor] = None  # noqa: UP045
        z: list[torch.Tensor] = dataclasses.field(default_factory=list)

    assert Row(3) == Row(3, None, [])
    assert packages_used(f) == set()
    assert "torch" not in packages_used(Row)


@pytest.mark.parametrize(
    "use",
    [
        lambda: torch.zeros(3),
        lambda: torch.pi + 1,
        lambda: 2 * torch.pi,
        lambda: -torch.pi,
        lambda: torch.pi < 3,
        lambda: types.new_class("Layer", (torch.nn.Module,)),
        lambda: list(torch),
        lambda: bool(torch),
        lambda: float(torch.pi),
        lambda: np.asarray(torch.x),
        lambda: isinstance(3, torch.Tensor),
        lambda: operator.setitem(torch.x, 3, 4),
        lambda: setattr(torch.x, "y", 4),
        lambda: torch.no_grad().__enter__(),
    ],
)
def test_all_other_use_raises_what_the_import_has_raised(use):
    with pytest.raises(ImportError, match=r"^torch may not be used here$"):
        use()


def test_who_uses_it_uses_the_package():
    def f():
        return torch.zeros(3)

    assert packages_used(f) == {"torch"}
    assert repr(torch.nn) == "<torch may not be used here>"
    assert not hasattr(torch, "__wrapped__")
