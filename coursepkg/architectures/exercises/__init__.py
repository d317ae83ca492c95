r"""Exercises on architectures, one module each."""
