r"""Time `coursepkg.convolution.fast` against PyTorch and a textbook im2col.

Each of the eight layers below runs forward and backward in float32. Every thread count has a
process of its own, started without the variables that would choose OpenBLAS's kernel by hand.
The contenders take turns, and the best of all rounds counts: whatever else the machine does can
only slow a round down. Memory is the peak of what NumPy allocates.

The textbook's code runs twice: as it is printed, where `np.zeros` makes float64 of the columns,
and with float32 columns, which separates what the precision costs from what the method costs.

    python benchmarks/conv2d.py [--threads 1 2] [--rounds 10]

prints the tables and writes benchmarks/results/conv2d.json.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterable
from functools import partial
from statistics import geometric_mean
from typing import Any

import numpy as np
import textbook_im2col as textbook
from by_threads import parser, race, threads_of_this_process
from threadpoolctl import threadpool_info
from tqdm import tqdm

from coursepkg.convolution import fast
from coursepkg.testing import assert_close

__all__ = ["LAYERS", "main"]

#: (N, C, H, W, O, kernel, stride, padding)
LAYERS = [
    (100, 1, 28, 28, 30, 5, 1, 0),
    (32, 3, 32, 32, 32, 3, 1, 1),
    (32, 32, 32, 32, 64, 3, 1, 1),
    (8, 64, 56, 56, 64, 3, 1, 1),
    (8, 3, 224, 224, 64, 7, 2, 3),
    (8, 128, 28, 28, 128, 3, 1, 1),
    (8, 256, 14, 14, 256, 3, 1, 1),
    (8, 64, 56, 56, 256, 1, 1, 0),
]
NUMPY = ("ours", "textbook", "float32")  # the contenders whose memory tracemalloc sees
PAUSE = 0.05  # seconds in which the waiting threads of the previous contender fall asleep

Layer = tuple[int, ...]
Contender = Callable[[], tuple[Any, ...]]


def main() -> None:
    race(parser(__doc__, rounds=10).parse_args(), measure, table)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    r"""Measure every layer in this process."""
    blas = next(lib for lib in threadpool_info() if lib["user_api"] == "blas")  # before torch's
    import torch

    torch.set_num_threads(threads_of_this_process())
    bar = tqdm(LAYERS, desc=f"threads: {torch.get_num_threads()}", unit="layer")
    return {
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torch_kernel": torch.backends.cpu.get_cpu_capability(),
        "blas": f"{blas['internal_api']} {blas['version']}",
        "blas_kernel": blas["architecture"],
        "blas_threads": blas["num_threads"],
        "layers": [measure_layer(layer, options.rounds) for layer in bar],
    }


def measure_layer(layer: Layer, rounds: int) -> dict[str, Any]:
    r"""Return the best times in milliseconds and the peaks of memory in MB."""
    contenders = make_contenders(layer)
    expected = contenders["torch"]()
    for name in NUMPY:
        for got, want in zip(contenders[name](), expected, strict=True):
            assert_close(got.astype("f"), want.detach().numpy(), f"{name} {layer}", rtol=1e-4)
    times = {name: float("inf") for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name] = min(times[name], seconds(run))
    memory = {name: peak(contenders[name]) / 1e6 for name in NUMPY}
    return {"layer": layer, "ms": {k: 1e3 * t for k, t in times.items()}, "peak_mb": memory}


def seconds(run: Contender) -> float:
    r"""Time one call after a pause and an untimed call, which wakes the threads up again."""
    time.sleep(PAUSE)
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak(run: Contender) -> int:
    r"""Return the largest number of bytes that a call holds at once, results included."""
    tracemalloc.start()
    run()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def make_contenders(layer: Layer) -> dict[str, Contender]:
    r"""Return three functions that run a layer forward and backward on the same numbers.

    Each returns output, grad_input, grad_weight and grad_bias.
    """
    import torch

    n, c, h, w, o, k, stride, padding = layer
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(s, np.float32) for s in ((n, c, h, w), (o, c, k, k), o))
    grad = rng.standard_normal(fast.conv2d(x, weight, bias, stride, padding).shape, np.float32)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    torch_grad = torch.tensor(grad)

    def ours() -> tuple[Any, ...]:
        output = fast.conv2d(x, weight, bias, stride, padding)
        return output, *fast.conv2d_backward(grad, x, weight, stride, padding)

    def pytorch() -> tuple[Any, ...]:
        output = torch.nn.functional.conv2d(*leaves, stride=stride, padding=padding)
        return output, *torch.autograd.grad(output, leaves, torch_grad)

    def baseline(dtype: str) -> tuple[Any, ...]:
        output, cols = textbook.conv2d(x, weight, bias, stride, padding, dtype)
        return output, *textbook.conv2d_backward(grad, cols, x.shape, weight, stride, padding)

    return {
        "ours": ours,
        "torch": pytorch,
        "textbook": partial(baseline, "float64"),
        "float32": partial(baseline, "float32"),
    }


def table(result: dict[str, Any]) -> str:
    r"""Lay the measurements of one thread count out for reading."""
    threads = "one thread" if result["threads"] == 1 else f"{result['threads']} threads"
    lines = [
        f"conv2d, forward + backward, float32, {threads}",
        f"NumPy {result['numpy']} on {result['blas']}, kernel {result['blas_kernel']}"
        f" ({result['blas_threads']}); PyTorch {result['torch']}, {result['torch_kernel']}",
        "",
        f"{'':31}|{'milliseconds':^37}|{'times as long as ours':^29}|{'peak memory, MB':^28}",
        "   N   C     HxW    O  k  s  p |     ours    torch textbook  float32 "
        "|    torch textbook  float32 |     ours textbook  float32",
    ]
    lines.append("".join("+" if c == "|" else "-" for c in lines[-1]))
    ratios: dict[str, list[float]] = {"torch": [], "textbook": [], "float32": []}
    for row in result["layers"]:
        n, c, h, w, o, k, s, p = row["layer"]
        for name, values in ratios.items():
            values.append(row["ms"][name] / row["ms"]["ours"])
        lines.append(
            f"{n:4}{c:4}{f'{h}x{w}':>8}{o:5}{k:3}{s:3}{p:3} "
            f"|{numbers(row['ms'].values())} "
            f"|{numbers(values[-1] for values in ratios.values())} "
            f"|{numbers(row['peak_mb'].values())}"
        )
    means = [geometric_mean(values) for values in ratios.values()]
    lines.append(f"{'geometric mean':31}|{'':37}|{numbers(means)} |")
    lines.append(
        f"Ours takes {1 / means[0]:.2f} of PyTorch's time in the geometric mean, "
        f"{1 / min(ratios['torch']):.2f} in the worst layer."
    )
    return "\n".join(lines)


def numbers(values: Iterable[float]) -> str:
    return "".join(f"{value:9.2f}" for value in values)


if __name__ == "__main__":
    main()
