r"""The command line of the course: `course list`, `course check`, `course grade`, and so on.

Every command says what it does, shows examples and lists its exit codes: `course grade --help`.
What a command needs is imported when it runs, so that help comes at once.
"""

from __future__ import annotations

import difflib
import fnmatch
import getpass
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from coursepkg.grading.exercise import Exercise

__all__ = ["course", "main"]

#: Exit codes of every command.
FOUND, USAGE = 1, 2

#: Problems that are printed; the report has all.
SHOWN = 10

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
SEED = click.IntRange(min=0)


class _Refusal(click.ClickException):
    r"""What was asked for cannot be done as it was asked; nothing was changed."""

    exit_code = USAGE


class _Course(click.Group):
    r"""A group that shows errors which are meant for people as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except (ValueError, OSError, RuntimeError) as error:
            if ctx.params["traceback"] or not _is_for_people(error):
                raise
            kind = _Refusal if isinstance(error, ValueError) else click.ClickException
            raise kind(_in_words(error)) from error


def _is_for_people(error: Exception) -> bool:
    r"""Say whether an error is told in words; other runtime errors are faults of the course."""
    from coursepkg.grading.isolation import IsolationError

    return isinstance(error, ValueError | OSError | IsolationError)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _end(*examples: str, found: str = "it did not succeed") -> str:
    r"""Return the end of a help text: examples, and the exit codes."""
    shown = "\n".join(f"  {example}" for example in examples)
    codes = f"Exit codes: 0 fine; 1 {found}; 2 not understood, and nothing done."
    return f"\b\nExamples:\n{shown}\n\n\b\n{codes}"


def _folders(folder: Path | None) -> tuple[Path, ...]:
    return () if folder is None else (folder,)


def _chosen(patterns: str | None, folder: Path | None) -> list[str]:
    r"""Return the ids that a list such as `convolution/conv*,linear/affine` names; all if None."""
    from coursepkg.grading.exercise import exercise_ids

    ids = exercise_ids(_folders(folder))
    if patterns is None:
        return ids
    found: dict[str, None] = {}
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        matching = fnmatch.filter(ids, pattern)
        if not matching:
            near = difflib.get_close_matches(pattern, ids, n=3, cutoff=0.4)
            remedy = f"perhaps {' or '.join(near)}" if near else "`course list` shows all"
            raise ValueError(f"--exercises={pattern}: there is no such exercise; {remedy}")
        found |= dict.fromkeys(matching)
    return list(found)


exercises_dir = click.option(
    "--exercises-dir",
    type=FOLDER,
    help="A folder of your own exercises, DIR/<topic>/<slug>.py.",
)
exercises = click.option(
    "--exercises",
    metavar="ID,...",
    help="Only these; ids may hold * and ?.  [default: all]",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one for each core",
    help="Submissions that are graded side by side; with --scheduler, Dask decides.",
)


@click.group(
    cls=_Course,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_end(
        "course list                       what there is to solve",
        "course check convolution/output-size hw1.ipynb",
        "course grade submissions --out marks",
        "course grade --help               every command has examples",
    ),
)
@click.version_option(package_name="coursepkg", prog_name="course")
@click.option("--traceback", is_flag=True, help="Show where in the program an error came from.")
def course(traceback: bool) -> None:
    r"""Exercises of the course: list, check, hand out, grade, report."""


@course.command(
    "list",
    epilog=_end("course list", "course list --long", "course list --exercises-dir my-exercises"),
)
@click.option("--long", is_flag=True, help="Points, environment and title, too.")
@exercises_dir
def _list(long: bool, exercises_dir: Path | None) -> None:
    r"""List the ids of all exercises, one a line."""
    from coursepkg.grading.exercise import exercise_ids, load

    folders = _folders(exercises_dir)
    ids = exercise_ids(folders)
    width = max(map(len, ids), default=0)
    for id in ids:
        if not long:
            click.echo(id)
            continue
        exercise = load(id, folders)
        points = f"{exercise.points:3} points"
        click.echo(f"{id:<{width}}  {points}  {exercise.environment:<5}  {exercise.title}")


@course.command(
    "check",
    epilog=_end(
        "course check convolution/output-size hw1.ipynb",
        "course check convolution/conv2d-layer layer.py",
        found="the answer is missing or not yet right",
    ),
)
@click.argument("id")
@click.argument("file", type=FILE)
@exercises_dir
@click.pass_context
def _check(ctx: click.Context, id: str, file: Path, exercises_dir: Path | None) -> None:
    r"""Check your answer to the exercise ID in FILE.

    FILE is a notebook (.ipynb), .py or .md; the last definition of what the exercise asks for
    counts. It is run here and now, with your rights: check your own work, and leave that of
    others to `course grade`.
    """
    from coursepkg.grading.check import check
    from coursepkg.grading.exercise import load

    folders = _folders(exercises_dir)
    exercise = load(id, folders)
    answer, problem = _answer(exercise, file)
    if problem:
        click.echo(f"{id}: 0 of {exercise.points} points\n{problem}")
    if problem or not check(id, answer, folders).passed:
        ctx.exit(FOUND)


def _answer(exercise: Exercise, file: Path) -> tuple[Any, str]:
    r"""Return the answer in a file, found as the grader finds it, or why there is none."""
    from coursepkg.grading.worker.serve import Session

    session = Session()
    session.load({file.name: file.read_bytes()})
    kind = "class" if isinstance(exercise.reference, type) else "function"
    request = {
        "name": exercise.name,
        "kind": kind,
        "forbid": exercise.forbid,
        "allowed": exercise.allowed,
        "limits": asdict(exercise.limits),
    }
    with _processor_time_kept():
        opened = session.open(request)
    if session.work is None or opened["status"] != "ready":
        return None, opened["message"]
    return session.work.value, ""


@contextmanager
def _processor_time_kept() -> Iterator[None]:
    r"""Put the limit of processor time back, which is meant for one answer."""
    try:
        import resource
    except ImportError:  # Windows has none
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_CPU)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)


@course.command(
    "release",
    epilog=_end(
        "course release handout --exercises 'convolution/*'",
        "course release handout --seed 2026 --exercises-dir my-exercises",
        "course release handout --seed 2026 --learners class.txt   a variant for each learner",
    ),
)
@click.argument("out", type=NEW_FOLDER)
@exercises
@exercises_dir
@click.option("--seed", type=SEED, help="Chooses the variants.  [default: drawn, and told]")
@click.option("--learners", type=FILE, help="One learner a line; each gets variants of their own.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier release in OUT.")
def _release(
    out: Path,
    exercises: str | None,
    exercises_dir: Path | None,
    seed: int | None,
    learners: Path | None,
    overwrite: bool,
) -> None:
    r"""Write what is handed out into the folder OUT.

    OUT/students is for them: notebooks, starters, a note on the data. OUT/instructor is for you
    alone: the seed, who has which variant, and a hash of every file.
    """
    from coursepkg.grading.release import MANIFEST, release

    manifest = release(
        out,
        _chosen(exercises, exercises_dir),
        seed,
        _folders(exercises_dir),
        None if learners is None else _names(learners),
        overwrite,
    )
    number = _count(len(manifest.exercises), "exercise")
    click.secho(f"{number} released with seed {manifest.seed}", bold=True)
    click.echo(f"Hand out  {out / 'students'}")
    click.echo(f"Keep      {out / 'instructor'}")
    told = shlex.quote(str(out / MANIFEST))
    click.echo(f"Grade     course grade SUBMISSIONS --out MARKS --manifest {told}")


def _names(file: Path) -> list[str]:
    r"""Return the names in a file, one a line."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"--learners={file} names nobody; write one learner a line")
    return names


@course.command(
    "grade",
    epilog=_end(
        "course grade submissions --out marks",
        "course grade submissions --out marks --manifest handout/instructor/manifest.json",
        "course grade submissions --out marks --exercises 'convolution/*' --workers 8",
        "course grade submissions --out marks --resume        go on after an interruption",
        "course grade submissions --out marks --scheduler tcp://10.0.0.1:8786",
    ),
)
@click.argument("submissions", type=FOLDER)
@click.option("--out", required=True, type=NEW_FOLDER, help="Where marks and report go.")
@click.option(
    "--manifest",
    type=FILE,
    help="Of the release: gives exercises, their folder, seed and variants, unless they are given "
    "here.  [default: SUBMISSIONS/../instructor/manifest.json, if there]",
)
@exercises
@exercises_dir
@workers
@click.option("--seed", type=SEED, help="Of the hidden cases.  [default: drawn, and kept in OUT]")
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster; see the guide.")
@click.option(
    "--isolation",
    type=click.Choice(["auto", "namespaces", "landlock", "none"]),
    help="What keeps submissions apart from you and each other; `none` keeps nothing apart.  "
    "[default: auto; with --resume, as before]",
)
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option(
    "--per-learner/--per-class",
    default=None,
    help="Each learner has variants of their own; see `course release --learners`.",
)
@click.pass_context
def _grade(
    ctx: click.Context, /, submissions: Path, out: Path, manifest: Path | None, **settings: Any
) -> None:
    r"""Grade a folder with one folder or file for each learner.

    Marks are written to OUT as they come, then a report; nothing in SUBMISSIONS is changed. Equal
    submissions, exercises and seeds give equal marks.
    """
    from coursepkg.grading.batch import run_batch
    from coursepkg.grading.report import write_report
    from coursepkg.grading.store import FILE

    begun = settings["resume"] and (out / FILE).is_file()
    if manifest is None and not begun:
        manifest = _beside(submissions)
    if manifest:
        _complete(settings, manifest)
    elif settings["exercises"] is None and not begun:
        click.echo("All exercises are graded; --exercises or --manifest choose some")
    if settings["exercises"] is not None:
        settings["exercises"] = _chosen(settings["exercises"], settings["exercises_dir"])
    with run_batch(submissions, out, **settings) as store:
        graded = [(g.learner, g.problems, g.isolation, g.digest) for g in store.graded()]
        answers = sum(mark.status != "missing" for g in store.graded() for mark in g.marks)
    write_report(out)
    click.secho(f"{_count(len(graded), 'submission')} graded, {_how(graded)}", bold=True)
    _tell("Problems", [f"{learner}: {p}" for learner, found, *_ in graded for p in found])
    if not answers:
        click.secho(f"No answer was found: is {submissions} the right folder?", fg="yellow")
    _where(out)
    if not answers or not all(digest for *_, digest in graded):
        ctx.exit(FOUND)


def _beside(submissions: Path) -> Path | None:
    r"""Return the manifest that lies beside the submissions, if there is one."""
    from coursepkg.grading.release import MANIFEST

    path = Path(os.path.normpath(submissions / ".." / MANIFEST))
    return path if path.is_file() else None


def _complete(settings: dict[str, Any], manifest: Path) -> None:
    r"""Take from a manifest what was not given, and say so in one line."""
    found = _settings_in(manifest)
    taken = {name: v for name, v in found.items() if settings[name] is None and v is not None}
    words = {
        "exercises": _count(found["exercises"].count(",") + 1, "exercise"),
        "exercises_dir": f"some from {found['exercises_dir']}",
        "seed": f"seed {found['seed']}",
        "per_learner": "a variant for each learner",
    }
    told = ", ".join(text for name, text in words.items() if taken.get(name, False) is not False)
    click.echo(f"From {manifest}: {told or 'nothing, as all is given'}")
    settings |= taken


def _settings_in(manifest: Path) -> dict[str, Any]:
    r"""Return what is to be graded with after a release, as the options of `course grade`."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        folder = content.get("exercises_dir")
        return {
            "exercises": ",".join(exercise["id"] for exercise in content["exercises"]),
            "exercises_dir": folder
            and Path(os.path.normpath(manifest.resolve().parents[1] / folder)),
            "seed": int(content["seed"]),
            "per_learner": bool(content.get("per_learner")),
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{manifest} is no manifest; `course release OUT` writes OUT/instructor/manifest.json"
        ) from error


def _how(graded: Sequence[tuple[str, tuple[str, ...], str, str]]) -> str:
    r"""Say how submissions were isolated, those that were run."""
    hows = {how for *_, how, _ in graded if how}
    if "none" in hows:
        return "not isolated"
    return f"isolated by {' and '.join(sorted(hows))}" if hows else "none of them could be run"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _tell(title: str, lines: Sequence[str]) -> None:
    r"""Print some of the lines, and how many more there are."""
    if not lines:
        return
    click.secho(f"{title}: {len(lines)}", fg="yellow")
    for line in lines[:SHOWN]:
        click.echo(f"  {line}")
    if len(lines) > SHOWN:
        click.echo(f"  … and {len(lines) - SHOWN} more, in the report")


def _where(out: Path) -> None:
    r"""Say where the marks are and what can be done with them."""
    report = out / "report"
    click.echo(f"Look at     {report / 'index.html'}")
    click.echo(f"Hand on     {report / 'marks.csv'}, moodle.csv, results/ (Gradescope), learners/")
    click.echo(f"Overrule    course override {out} LEARNER EXERCISE POINTS --why REASON")


@course.command(
    "regrade",
    epilog=_end("course regrade marks        after an exercise was mended"),
)
@click.argument("out", type=FOLDER)
@workers
@click.pass_context
def _regrade(ctx: click.Context, out: Path, workers: int) -> None:
    r"""Grade again what has changed since, and keep the rest.

    A mark is computed again if anything in the exercise that decides about it has changed: cases,
    points, limits, hints. Overrides stay.
    """
    from coursepkg.grading.batch import regrade
    from coursepkg.grading.report import write_report

    regraded = regrade(out, workers)
    write_report(out)
    changed = [c for c in regraded.changes if c.before != c.after]
    click.secho(
        f"{_count(len(regraded.changes), 'mark')} computed again, {len(changed)} of them changed",
        bold=True,
    )
    _tell(
        "Changed",
        [f"{c.learner}, {c.exercise}: {c.before} -> {c.after} of {c.out_of}" for c in changed],
    )
    _tell("Problems", regraded.problems)
    _where(out)
    if regraded.problems:
        ctx.exit(FOUND)


@course.command(
    "override",
    epilog=_end(
        'course override marks ann convolution/conv2d 5 --why "right, but for a typo in the name"',
    ),
)
@click.argument("out", type=FOLDER)
@click.argument("learner")
@click.argument("exercise")
@click.argument("points", type=float)
@click.option("--why", required=True, help="The reason; the learner reads it.")
def _override(out: Path, learner: str, exercise: str, points: float, why: str) -> None:
    r"""Give LEARNER other POINTS for EXERCISE than were computed.

    The computed mark is kept beside it, with date, name and reason. The last override counts.
    """
    from coursepkg.grading.store import FILE, Store

    with Store(out / FILE) as store:
        kept = store.override(learner, exercise, points, why, author=getpass.getuser())
    told = f"to see it in the report: course report {out}"
    click.echo(f"{learner}, {exercise}: {kept.points:g} points; {told}")


@course.command(
    "report",
    epilog=_end(
        "course report marks",
        "course report marks --canvas 2026-03-01_Grades.csv",
    ),
)
@click.argument("out", type=FOLDER)
@click.option("--canvas", metavar="EXPORT.csv", type=FILE, help="Fill marks into Canvas's export.")
@click.option("--assignment", help="The column of that export.  [default: the only one]")
def _report(out: Path, canvas: Path | None, assignment: str | None) -> None:
    r"""Write the report of a run again.

    That is: pages to read, tables, and files for learning platforms, all in OUT/report.
    """
    from coursepkg.grading.report import fill_canvas, write_report

    write_report(out)
    _where(out)
    if canvas:
        filled = fill_canvas(out, canvas, assignment)
        click.echo(f"Canvas      {filled}")
        click.echo(filled.with_name("canvas-notes.txt").read_text(encoding="utf-8"), nl=False)


@course.command(
    "sample",
    epilog=_end("course sample sample-class", "course sample big-class --learners 1000"),
)
@click.argument("out", type=NEW_FOLDER)
@click.option(
    "--learners",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="How many there are.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the class.")
def _sample(out: Path, learners: int, seed: int) -> None:
    r"""Make a class to try the grader on, in the folder OUT.

    OUT/submissions is what the learners hand in: right, wrong, broken and hostile work.
    OUT/expected.json is what they deserve. OUT/exercises holds an exercise to begin from.
    """
    from coursepkg.grading.sample import IDS, sample

    sample(out, learners, seed)
    click.secho(f"{_count(learners, 'submission')} made, for {len(IDS)} exercises", bold=True)
    click.echo(f"Look at   {out / 'submissions'}")
    click.echo(f"Grade     course grade {out / 'submissions'} --out marks")


@course.command("doctor", epilog=_end("course doctor", found="no isolation is to be had here"))
@click.pass_context
def _doctor(ctx: click.Context) -> None:
    r"""Try what this machine has, and say what to install."""
    from coursepkg.grading.isolation import IsolationError, choose, doctor

    findings = doctor()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        word, colour = ("fine   ", "green") if finding.fine else ("missing", "yellow")
        click.echo(f"{click.style(word, fg=colour)}  {finding.name:<{width}}  {finding.words}")
        if not finding.fine and finding.remedy:
            click.echo(f"{'':{width + 11}}{finding.remedy}")
    try:
        isolation = choose("auto", lambda: findings)
    except IsolationError:
        click.secho("\nNothing here keeps submissions apart: `course grade` will refuse.", fg="red")
        ctx.exit(FOUND)
    click.echo(f"\n`course grade` will isolate submissions by {isolation}.")


def main() -> None:
    r"""Run the command line."""
    course(prog_name="course")


if __name__ == "__main__":
    main()
