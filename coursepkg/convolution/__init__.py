r"""Convolution: its arithmetic, its loops, and the same made fast."""
