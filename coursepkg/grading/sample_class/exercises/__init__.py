r"""Exercises to copy."""
