r"""Exercises on convolution, one module each."""
