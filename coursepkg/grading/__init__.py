r"""Exercises: what they are, how an answer is run and judged, and the learner's self-check."""

from coursepkg.grading.exercise import Case, Exercise, Mistake, exercise_ids, load

__all__ = ["Case", "Exercise", "Mistake", "exercise_ids", "load"]
