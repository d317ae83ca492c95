r"""Time `coursepkg.architectures.deform_conv.deform_conv2d` against torchvision's operator.

Each of the four layers below runs forward and backward in float32, without masks and with them.
Every thread count has a process of its own. The two take turns, and the best of all rounds
counts: whatever else the machine does can only slow a round down. Before that, outputs and
gradients are compared.

torchvision does not import beside every PyTorch, so this runs in the environment of `make oracle`:

    PYTHONPATH=. .oracle/bin/python benchmarks/deform_conv.py [--threads 1 2] [--rounds 10]

prints the tables and writes benchmarks/results/deform_conv.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from by_threads import parser, race, threads_of_this_process

from coursepkg.architectures.deform_conv import deform_conv2d
from coursepkg.testing import assert_close

__all__ = ["LAYERS", "main"]

#: (N, C, H, W): as many filters as channels, 3 x 3, stride 1, padding 1
LAYERS = [(8, 64, 28, 28), (4, 128, 28, 28), (2, 256, 14, 14), (8, 16, 56, 56)]
CONTENDERS: dict[str, Callable[..., torch.Tensor]] = {
    "torchvision": torchvision.ops.deform_conv2d,
    "ours": deform_conv2d,
}


def main() -> None:
    race(parser(__doc__, rounds=10).parse_args(), measure, table)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Time all layers in this process."""
    torch.set_num_threads(threads_of_this_process())
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    layers = [
        {"shape": shape, "modulated": modulated, "seconds": best(shape, modulated, options.rounds)}
        for shape in LAYERS
        for modulated in (False, True)
    ]
    return {"versions": versions, "rounds": options.rounds, "layers": layers}


def best(shape: tuple[int, int, int, int], modulated: bool, rounds: int) -> dict[str, float]:
    """Return the best time of each contender, in seconds."""
    tensors, upstream = arguments(shape, modulated)
    runs = {name: lambda f=f: run(f, tensors, upstream) for name, f in CONTENDERS.items()}
    for ours, theirs in zip(runs["ours"](), runs["torchvision"](), strict=True):
        assert_close(ours.detach(), theirs.detach())
    times = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, go in runs.items():
            start = time.perf_counter()
            go()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def arguments(
    shape: tuple[int, int, int, int], modulated: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return random arguments, offsets of about two pixels, and a gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    n, c, h, w = shape

    def noise(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    tensors = {
        "input": noise(*shape),
        "offset": 2 * noise(n, 18, h, w),
        "weight": noise(c, c, 3, 3) / (3 * c**0.5),
        "bias": noise(c),
    }
    if modulated:
        tensors["mask"] = noise(n, 9, h, w).sigmoid()
    return {name: t.requires_grad_() for name, t in tensors.items()}, noise(*shape)


def run(
    operator: Callable[..., torch.Tensor], tensors: dict[str, torch.Tensor], upstream: torch.Tensor
) -> list[torch.Tensor]:
    """Return the output and all gradients."""
    output = operator(**tensors, padding=1)
    return [output, *torch.autograd.grad(output, list(tensors.values()), upstream)]


def table(result: dict[str, Any]) -> str:
    """Lay out the times of one thread count."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    threads = f"{result['threads']} thread" + "s" * (result["threads"] > 1)
    lines = [
        f"{versions}; {threads}; forward and backward, best of {result['rounds']}, milliseconds",
        f"{'(N, C, H, W)':18}{'version':>8}{'torchvision':>13}{'ours':>8}{'ratio':>8}",
    ]
    for layer in result["layers"]:
        seconds = layer["seconds"]
        theirs, ours = seconds["torchvision"], seconds["ours"]
        lines.append(
            f"{tuple(layer['shape'])!s:18}{1 + layer['modulated']:8}"
            f"{1e3 * theirs:13.1f}{1e3 * ours:8.1f}{ours / theirs:8.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
