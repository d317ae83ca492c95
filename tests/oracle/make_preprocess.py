"""Store how torchvision prepares an image for some of its weights in `preprocess.npz`.

    python tests/oracle/make_preprocess.py

Of the prepared image every 37th row and 41st column is stored. For GoogLeNet and Inception v3 that
is after `transform_input`, which their networks do themselves there. A file that agrees is left as
it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision import models

STORE = Path(__file__).with_name("preprocess.npz")
ENTRIES = (
    ("resnet50", "IMAGENET1K_V1"),
    ("resnet50", "IMAGENET1K_V2"),
    ("googlenet", "IMAGENET1K_V1"),
    ("inception_v3", "IMAGENET1K_V1"),
    ("efficientnet_b0", "IMAGENET1K_V1"),
    ("efficientnet_b1", "IMAGENET1K_V2"),
    ("efficientnet_b3", "IMAGENET1K_V1"),
    ("efficientnet_b7", "IMAGENET1K_V1"),
    ("convnext_tiny", "IMAGENET1K_V1"),
    ("vit_b_16", "IMAGENET1K_V1"),
)


def prepared(name: str, weights: str, image: np.ndarray) -> np.ndarray:
    """Return what the network works on."""
    entry = models.get_model_weights(name)[weights]
    batch = entry.transforms()(torch.from_numpy(image).permute(2, 0, 1))[None]
    if name in ("googlenet", "inception_v3"):
        model = models.get_model(name, weights=None, init_weights=False, transform_input=True)
        batch = model._transform_input(batch)
    return batch[0, :, ::37, ::41].numpy()


def main() -> None:
    rng = np.random.default_rng(0)
    record = {}
    for way, shape in (("wide", (300, 451, 3)), ("tall", (701, 333, 3))):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        for name, weights in ENTRIES:
            record[f"{name}/{weights}/{way}"] = prepared(name, weights, image)
    if STORE.exists():
        with np.load(STORE) as stored:
            same = set(record) == set(stored) and all(
                np.allclose(stored[key], value, rtol=0, atol=1e-6) for key, value in record.items()
            )
        if same:
            print(f"preprocess: the record of {len(record)} images is up to date")
            return
    np.savez_compressed(STORE, **record)
    print(f"preprocess: {len(record)} images, {STORE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
