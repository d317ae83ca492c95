r"""Time our networks against torchvision's, and what it costs to build one whose weights follow.

Both libraries have the same weights and images, eight of 224 x 224 in float32. A training step is
a forward pass, cross-entropy (of the main scores only), a backward pass and a step of SGD with
momentum. The two take turns, and so does who begins; the best of all rounds counts: whatever else
the machine does can only slow a round down. Every thread count has a process of its own.

    PYTHONPATH=. .oracle/bin/python benchmarks/architectures.py [--threads 1 2] [--networks ...]

runs in the environment that `make oracle` makes, prints the tables and writes
benchmarks/results/architectures.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import geometric_mean, median
from typing import Any

from by_threads import parser, race, threads_of_this_process
from tqdm import tqdm

__all__ = ["NETWORKS", "main"]

NETWORKS = [
    "resnet18",
    "resnet50",
    "vgg16",
    "googlenet",
    "densenet121",
    "mobilenet_v2",
    "efficientnet_b0",
]
CLASSES = 1000

Contender = Callable[[], Any]


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    race(options.parse_args(), measure, table)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    r"""Measure every network in this process."""
    import torch
    import torchvision

    torch.set_num_threads(threads_of_this_process())
    bar = tqdm(options.networks, desc=f"threads: {torch.get_num_threads()}", unit="network")
    shape = (options.batch, 3, options.size, options.size)
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "kernel": torch.backends.cpu.get_cpu_capability(),
        "shape": shape,
        "rounds": options.rounds,
        "networks": {name: measure_network(name, shape, options.rounds) for name in bar},
    }


def measure_network(name: str, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    r"""Return the seconds of every round: task -> contender -> list."""
    import torch
    from oracle_weights import fill, images

    from coursepkg.architectures.checkpoints import skeleton

    build = builders(name)
    state = fill(build["ours"]().state_dict())

    def loaded() -> Any:
        skeleton(build["ours"]).load_state_dict(state, assign=True)

    times = {"construct": take_turns({**build, "loaded": loaded}, rounds)}
    input, labels = images(name, shape), torch.arange(shape[0]) * 37 % CLASSES
    models = {side: make() for side, make in build.items()}
    for model in models.values():
        model.load_state_dict(state)
    agree(models, input)
    for task, make_task in TASKS.items():
        contenders = {side: make_task(model, input, labels) for side, model in models.items()}
        times[task] = take_turns(contenders, rounds)
    return times


def builders(name: str) -> dict[str, Contender]:
    r"""Return functions that build the network of either library."""
    import torchvision

    from coursepkg.architectures import get_model

    # GoogLeNet warns unless its first weights are asked for
    settings = {"init_weights": True} if name == "googlenet" else {}
    theirs = partial(torchvision.models.get_model, name, weights=None, **settings)
    return {"ours": partial(get_model, name), "theirs": theirs}


def agree(models: dict[str, Any], input: Any) -> None:
    r"""Raise an AssertionError unless both networks do the same."""
    import torch

    from coursepkg.testing import assert_close

    with torch.no_grad():
        ours, theirs = (model.eval()(input[:1]).numpy() for model in models.values())
    assert_close(ours, theirs, "output")


def make_forward(model: Any, input: Any, labels: Any) -> Contender:
    r"""Return a function that runs a network in evaluation mode."""
    import torch

    def forward() -> Any:
        with torch.inference_mode():
            return model(input)

    model.eval()
    return forward


def make_step(model: Any, input: Any, labels: Any) -> Contender:
    r"""Return a function that trains a network for a step, and does not move its weights far."""
    import torch
    import torch.nn.functional as F

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        output = model(input)
        F.cross_entropy(getattr(output, "logits", output), labels).backward()
        optimizer.step()

    model.train()
    return step


#: What is timed of a network that stands, by its heading.
TASKS = {"forward": make_forward, "training step": make_step}


def take_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    r"""Time the contenders in turns, after an untimed round; every other round goes backwards."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        order = list(contenders.items())[:: -1 if number % 2 else 1]
        for name, run in order:
            start = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def table(result: dict[str, Any]) -> str:
    r"""Lay the measurements of one thread count out for reading."""
    threads = "one thread" if result["threads"] == 1 else f"{result['threads']} threads"
    shape = " x ".join(map(str, result["shape"]))
    lines = [
        f"float32, {shape}, {threads}, best of {result['rounds']} rounds; PyTorch "
        f"{result['torch']} ({result['kernel']}), torchvision {result['torchvision']}",
        "Milliseconds, and ours / theirs: of the best rounds, and (of the medians).",
        "",
        f"{'':16}|{'forward':^34}|{'training step':^34}|{'construction':^36}",
        f"{'':16}|{'ours  theirs   ratio  (median)':>33} |{'ours  theirs   ratio  (median)':>33} "
        f"|{'ours  theirs   ratio  weights follow':>36}",
    ]
    lines.append("".join("+" if c == "|" else "-" for c in lines[-1]))
    ratios: dict[str, list[float]] = {task: [] for task in TASKS}
    for name, times in result["networks"].items():
        cells = []
        for task, values in ratios.items():
            best, middle = (ratio(times[task], of) for of in (min, median))
            values.append(best)
            cells.append(f"{pair(times[task])} {best:7.3f}  ({middle:.3f}) ")
        built = times["construct"]
        follow = f"{1e3 * min(built['loaded']):8.1f}"
        cells.append(f"{pair(built)} {ratio(built, min):7.3f} {follow:>14}")
        lines.append(f"{name:16}|" + "|".join(f"{cell:>34}" for cell in cells))
    means = [f"{geometric_mean(values):{'26.3f'}}{'':8}" for values in ratios.values()]
    lines.append(f"{'geometric mean':16}|" + "|".join(means) + "|")
    return "\n".join(lines)


def pair(times: dict[str, list[float]]) -> str:
    r"""Return the best times of both in milliseconds."""
    return "".join(f"{1e3 * min(times[side]):8.1f}" for side in ("ours", "theirs"))


def ratio(times: dict[str, list[float]], of: Callable[[list[float]], float]) -> float:
    r"""Return ours / theirs, of the least or of the median."""
    return of(times["ours"]) / of(times["theirs"])


if __name__ == "__main__":
    main()
