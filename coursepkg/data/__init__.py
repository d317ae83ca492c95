r"""Data of the course: digits, photographs, generated scenes and downloads."""
