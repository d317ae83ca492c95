r"""Scenes per second on one core: run ``python benchmarks/bench_scenes.py``.

Best of several runs in processor time, so that a neighbour's load does not count. Textures are
loaded before the clock starts. "labels" adds boxes, semantic mask, keypoint visibility and caption.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from coursepkg.data.scenes import Scene, scenes

__all__ = ["bench_scenes"]

ROWS: dict[str, dict[str, object]] = {
    "one thing": {"objects": 1},
    "default (1 to 4 things)": {},
    "default, 32 x 32": {"size": 32},
    "default, 96 x 96": {"size": 96},
    "sketch": {"domain": "sketch"},
}


def labels(scene: Scene) -> tuple[object, ...]:
    """Everything about a scene that is computed when first asked for."""
    return scene.boxes, scene.semantic, scene.visible, scene.visibility, scene.caption


def rate(draw: Callable[[int], object], n: int = 200, runs: int = 5) -> float:
    """The greatest number of scenes per second of processor time."""
    best = float("inf")
    for run in range(runs):
        begin = time.process_time()
        draw(run * n)
        best = min(best, time.process_time() - begin)
    return n / best


def bench_scenes(n: int = 200) -> None:
    """Print images per second, without and with all labels."""
    scenes(100)
    print(f"{'scenes per second, one core':<28}{'images':>8}{'labels':>8}")
    for name, settings in ROWS.items():
        images = rate(lambda start, s=settings: scenes(n, start=start, **s), n)
        full = rate(lambda start, s=settings: [labels(x) for x in scenes(n, start=start, **s)], n)
        print(f"{name:<28}{images:>8.0f}{full:>8.0f}")


if __name__ == "__main__":
    bench_scenes()
