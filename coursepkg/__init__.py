r"""The tested companion of the course: every function that its pages use or ask for.

`check("convolution/output-size", output_size)` checks an answer to an exercise. Everything
else is imported from its topic, as in `from coursepkg.convolution.reference import conv2d`.
"""

from typing import Any

__all__ = ["__version__", "check"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import coursepkg` itself loads nothing."""
    if name == "check":
        from coursepkg.grading.check import check

        return check
    if name == "__version__":
        from importlib.metadata import version

        return version("coursepkg")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
