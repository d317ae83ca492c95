r"""The self-check: what passed, what did not, and what to look at next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coursepkg.grading.exercise import Exercise, Folders, load
from coursepkg.grading.feedback import feedback, heading
from coursepkg.grading.judge import Recogniser, evaluate, passed, runner
from coursepkg.grading.worker.packages import packages_used, refusal

__all__ = ["SEED", "Result", "check"]

#: The seed of the further cases of a self-check. Graded work is checked with another one.
SEED = 0


@dataclass(frozen=True, repr=False)
class Result:
    r"""What a self-check found. It shows nothing by itself: `check` has printed the text.

    Attributes
    ----------
    id : str
        Of the exercise.
    points, out_of : int
    groups : mapping of str to bool
        Which groups of cases passed.
    hints : tuple of str
        For the mistakes that were recognised; the first three are printed.
    text : str
        What was printed.
    """

    id: str
    points: int
    out_of: int
    groups: Mapping[str, bool]
    hints: tuple[str, ...]
    text: str

    @property
    def passed(self) -> bool:
        r"""Whether every group passed."""
        return all(self.groups.values())

    def __repr__(self) -> str:
        return f"<{self.id}: {self.points} of {self.out_of} points>"

    def _ipython_display_(self) -> None:
        r"""Show nothing in a notebook."""


def check(id: str, answer: Any, exercises_dir: Folders = ()) -> Result:
    r"""Check your answer to an exercise, and print what passed and what did not.

    It runs the public cases and further ones, always the same. Graded work is run on other
    further cases, so that an answer has to be right and not only to fit these.

    Parameters
    ----------
    id : str
        The exercise, such as `"convolution/output-size"`.
    answer : function or class
        What you wrote: the thing itself, not its name and not a call.
    exercises_dir : path or sequence of path
        Where further exercises stand, as `<topic>/<slug>.py`.

    Returns
    -------
    Result
        Points and hints, for those who want to go on from them.

    Raises
    ------
    ValueError
        If there is no such exercise. Nothing that the answer does raises.

    Examples
    --------
    >>> def output_size(size, kernel, stride=1, padding=0, dilation=1):
    ...     return size // stride
    >>> result = check("convolution/output-size", output_size)  # doctest: +ELLIPSIS
    convolution/output-size: 0 of ... points
    ...
    >>> result.passed
    False
    """
    exercise = load(id, exercises_dir)
    result = _refused(exercise, answer) or _checked(exercise, answer)
    print(result.text)
    return result


def _refused(exercise: Exercise, answer: Any) -> Result | None:
    reason = _unsuitable(exercise, answer) or _forbidden(exercise, answer)
    if not reason:
        return None
    text = heading(exercise, 0) + reason
    return _result(exercise, dict.fromkeys(exercise.groups, False), (), text)


def _unsuitable(exercise: Exercise, answer: Any) -> str:
    r"""Say why this cannot be an answer at all, or return an empty string."""
    wanted = "class" if isinstance(exercise.reference, type) else "function"
    usage = f'Pass the {wanted} itself: check("{exercise.id}", {exercise.name})'
    if isinstance(answer, str):
        return f"You passed the text {answer!r:.40}. {usage}, without quotes."
    if isinstance(answer, type) == (wanted == "class") and callable(answer):
        return ""
    got = "the class" if isinstance(answer, type) else "a value of type"
    word = answer.__name__ if isinstance(answer, type) else type(answer).__name__
    return f"You passed {got} {word}, but a {wanted} is wanted. {usage}."


def _forbidden(exercise: Exercise, answer: Any) -> str:
    r"""Say which packages may not be used; the published answer is exempt."""
    if answer is exercise.reference:
        return ""
    own = str(getattr(answer, "__module__", None)).partition(".")[0]
    used = sorted(packages_used(answer) - {own})
    reasons = [refusal(package, exercise.forbid, exercise.allowed) for package in used]
    return "\n".join(filter(None, reasons))


def _checked(exercise: Exercise, answer: Any) -> Result:
    recogniser = Recogniser(exercise, SEED)
    verdicts = evaluate(runner(exercise, answer), recogniser.cases)
    groups = passed(exercise, verdicts)
    mistakes = recogniser.recognise(verdicts)
    hints = tuple(mistake.hint for mistake in mistakes)
    return _result(exercise, groups, hints, feedback(exercise, verdicts, mistakes))


def _result(
    exercise: Exercise, groups: dict[str, bool], hints: tuple[str, ...], text: str
) -> Result:
    return Result(exercise.id, exercise.earned(groups), exercise.points, groups, hints, text)
