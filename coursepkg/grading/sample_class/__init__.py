r"""What `coursepkg.grading.sample` copies: an exercise of one's own, to begin from."""
