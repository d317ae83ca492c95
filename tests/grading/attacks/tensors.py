"""Attacks on exercises with PyTorch; each defines `half`, and `target` and `bystander` honestly."""

from __future__ import annotations

from grading.attacks.attack import Attack, table

__all__ = ["TENSORS"]

TENSORS = table(
    Attack("returns-a-tensor-without-data", "def half(x):\n    return x.to('meta')", says=""),
    Attack(
        "returns-a-sparse-tensor",
        "def half(x):\n    return (x / 2).to_sparse()",
    ),
    Attack(
        "expands-a-tensor-to-a-terabyte",
        "def half(x):\n    return (x / 2)[:1].expand(10 ** 12)",
        says="large|big|memory|MB|shape",
    ),
    Attack(
        "derives-from-tensor",
        """
        import torch

        class Sly(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                return torch.zeros(2)

        def half(x):
            return torch.zeros(len(x)).as_subclass(Sly)
        """,
    ),
    Attack(
        "still-needs-a-gradient",
        """
        def half(x):
            return x.requires_grad_() / 2
        """,
        points=2,
    ),
    Attack(
        "loads-a-gadget",
        """
        import io, os, pickle, torch

        class Gadget:
            def __reduce__(self):
                return os.mkdir, (os.path.join(OUTSIDE, MARK + NAME),)

        def half(x):
            torch.load(io.BytesIO(pickle.dumps(Gadget())), weights_only=False)
            raise RuntimeError("loaded")
        """,
        tells="file",
    ),
    Attack(
        "shares-a-tensor-with-others",
        """
        def half(x):
            x.share_memory_()
            raise RuntimeError("shared")
        """,
        says="Error",
    ),
    Attack(
        "uses-every-core",
        """
        import torch

        def half(x):
            torch.set_num_threads(16)
            a = torch.ones(600, 600)
            a @ a
            return x / 2
        """,
        points=2,
    ),
    Attack(
        "compiles-a-program",
        """
        import torch

        def half(x):
            return torch.compile(lambda t: t / 2)(x)
        """,
        says="Error|stopped after",
    ),
    Attack(
        "dies-with-a-tensor", "import os\n\ndef half(x):\n    os._exit(1)", says="ended the program"
    ),
    Attack(
        "recycles-memory",
        "import torch\n\ndef half(x):\n    return torch.empty(2 ** 34)",
        says="memory",
    ),
    Attack("is-honest-with-tensors", "def half(x):\n    return x / 2", points=2),
)
