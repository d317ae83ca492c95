"""Store what torchvision's deformable convolution computes in `deform_conv.npz`.

    python tests/oracle/make_deform_conv.py

A file that agrees within the tolerance of its dtypes is left as it is, so that another
processor's rounding does not change it.
"""

from __future__ import annotations

import numpy as np
import torch
from oracle_deform_conv import CASES, STORE, results
from torchvision.ops import deform_conv2d

from coursepkg.testing import difference


def main() -> None:
    torch.set_num_threads(1)
    record = {
        f"{case.name}/{name}": array
        for case in CASES
        for name, array in results(deform_conv2d, case).items()
    }
    if STORE.exists():
        with np.load(STORE) as stored:
            if difference(record, dict(stored)) is None:
                print(f"deform_conv2d: the record of {len(CASES)} cases is up to date")
                return
    np.savez_compressed(STORE, **record)
    print(f"deform_conv2d: {len(CASES)} cases, {STORE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
