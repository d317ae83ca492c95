"""Measure the reference networks and store small records of them in `networks/`.

    python tests/oracle/make_networks.py [NAME ...]

A record that agrees with the stored one within the tolerance of float32 is left as it is, so that
another processor's rounding changes no file.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from numpy.typing import NDArray
from oracle_networks import CASES, STORE, Case, describe, disagreement, measure, read, write
from references import reference
from tqdm import tqdm


def is_stored(case: Case, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bool:
    """Return whether the stored record says the same."""
    if not (STORE / f"{case.stem}.json").exists():
        return False
    before, stored = read(case)
    return described == before and not disagreement(arrays, stored)


def main(names: list[str]) -> None:
    STORE.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    changed = []
    for case in tqdm([c for c in CASES if not names or c.name in names], unit="network"):
        torch.manual_seed(0)
        model = reference(case)
        described, arrays = describe(model), measure(model, case)
        if not is_stored(case, described, arrays):
            write(case, described, arrays)
            changed.append(case.title)
    print(f"networks: {len(changed)} of {len(CASES)} records written anew {' '.join(changed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
