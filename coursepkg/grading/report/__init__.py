r"""Reports: what a run found, in the formats of learning platforms and as pages to read."""

from coursepkg.grading.report.write import fill_canvas, write_report

__all__ = ["fill_canvas", "write_report"]
