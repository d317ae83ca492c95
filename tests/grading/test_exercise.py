"""Exercises are found by id and read off their modules."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from coursepkg.convolution.arithmetic import span
from coursepkg.grading import Case, exercise_ids, load, sample_class
from coursepkg.grading.exercise import ENVIRONMENTS, Limits, from_module
from coursepkg.testing import AtLeast

SHIPPED = Path(sample_class.__file__).parent
POOL = "exercises/pool"


def module(**changes) -> ModuleType:
    def hidden(rng):
        yield Case("taps", {"kernel": int(rng.integers(1, 9)), "dilation": 1}, 0)

    def too_short(kernel, dilation=1):
        """One
        line.
        """

    made = ModuleType("made", "The title\n\nThe prompt,\nin two lines.\n")
    vars(made).update(
        points={"taps": 2, "errors": 1},
        environment="numpy",
        seconds=1.0,
        reference=span,
        PUBLIC=[Case("taps", {"kernel": 3}, 3), Case("errors", {"kernel": 0}, ValueError)],
        hidden=hidden,
        oracle=lambda kernel, dilation=1: len(range(0, dilation * (kernel - 1) + 1)),
        WRONG=[too_short],
        FORBID=["torch"],
    )
    vars(made).update(changes)
    return made


def test_groups_that_passed_earn_their_points():
    exercise = from_module("a/b", module())
    assert exercise.earned({"taps": True, "errors": False}) == 2
    assert exercise.earned(dict.fromkeys(exercise.groups, True)) == exercise.points


def test_ids_are_sorted_and_each_can_be_loaded():
    assert exercise_ids() == sorted(exercise_ids())
    assert [load(id).id for id in exercise_ids()] == exercise_ids()


@pytest.mark.parametrize(
    ("id", "near"),
    [
        ("convolution/outputsize", "'convolution/output-size'"),
        ("conv2d", "'convolution/conv2d'"),
        ("convolution/output_size", "'convolution/output-size'"),
        ("", "'convolution/conv2d'"),
        (None, "'convolution/conv2d'"),
    ],
)
def test_an_unknown_id_lists_what_looks_like_it(id, near):
    with pytest.raises(ValueError, match="there is no exercise") as error:
        load(id)
    assert near in str(error.value)


def test_everything_comes_from_the_module():
    exercise = from_module("made/span", module())
    assert (exercise.title, exercise.prompt) == ("The title", "The prompt,\nin two lines.")
    assert (exercise.points, exercise.name) == (3, "span")
    assert exercise.hints == ("One line.",)
    assert exercise.mistakes[0].name == "too_short"
    assert exercise.starter.endswith("raise NotImplementedError\n")
    assert "def span" in exercise.solution


def test_a_plain_result_gets_the_name_that_its_driver_gives_it():
    public = from_module("made/span", module()).public
    assert public[0].expected == {"result": 3}
    assert public[1].expected is ValueError


def test_a_drivers_results_have_names_already():
    def driver(Answer, kernel):
        yield "reach", Answer(kernel)

    case = Case("", {"kernel": 3}, {"reach": 3})
    exercise = from_module("made/span", module(driver=driver, PUBLIC=[case], points={"reach": 1}))
    assert exercise.public == (case,)


def test_cases_are_the_public_ones_and_those_of_the_seed():
    exercise = from_module("made/span", module())
    drawn = {seed: exercise.cases(seed)[-1].inputs["kernel"] for seed in range(9)}
    assert exercise.cases(0)[:2] == exercise.public
    assert drawn == {seed: exercise.cases(seed)[-1].inputs["kernel"] for seed in range(9)}
    assert len(set(drawn.values())) > 1


def test_further_functions_can_be_shown_with_the_solution():
    from coursepkg.convolution.arithmetic import same_padding

    assert "def same_padding" in from_module("x", module(shown=[same_padding])).solution


def test_limits_stand_beside_the_seconds():
    made = from_module("made/span", module(limits={"memory": 2048, "open_files": 8}))
    assert made.limits == Limits(1.0, memory=2048, open_files=8)
    assert made.seconds == 1.0
    assert from_module("made/span", module()).limits == Limits(1.0)
    assert Limits() == Limits(3.0, memory=1024, threads=64, file=16, open_files=64, output=4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limits": {"memry": 1}}, "limits has 'memry'; use memory, threads, file"),
        ({"limits": {"seconds": 1}}, "limits has 'seconds'; .* and `seconds` beside it"),
        ({"environment": "jax"}, "environment='jax' is unknown; use 'numpy' or 'torch'"),
        ({"points": {"taps": 1}}, "PUBLIC has cases of errors; give points for them"),
        ({"driver": lambda Answer: []}, "the driver is called <lambda>; define it as `driver`"),
    ],
)
def test_a_module_that_does_not_fit_together_is_refused(changes, words):
    with pytest.raises(ValueError, match=f"^exercise 'made/span', made: .*{words}"):
        from_module("made/span", module(**changes))


@pytest.mark.parametrize("name", ["points", "WRONG", "hidden", "seconds"])
def test_a_module_in_which_something_is_missing_is_refused(name):
    made = module()
    delattr(made, name)
    with pytest.raises(ValueError, match=f"{name} missing"):
        from_module("made/span", made)


def test_an_answer_may_use_its_environment_without_what_is_forbidden():
    assert from_module("made/span", module()).allowed == ("numpy",)
    torch = module(environment="torch", FORBID=["numpy", "jax"])
    assert from_module("made/span", torch).allowed == ("torch",)


RUN_APART = """
import sys

space = {"__name__": "driver"}
exec(compile(sys.stdin.read(), "driver", "exec"), space)
assert next(space["driver"](lambda *_: (1, 2, 3), [])) == ("size", 1)
assert "coursepkg" not in sys.modules
"""


def test_a_drivers_source_runs_apart_from_the_course(tmp_path):
    source = load("convolution/receptive-field").driver_source
    command = [sys.executable, "-I", "-c", RUN_APART]
    done = subprocess.run(command, input=source, text=True, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert load("convolution/output-size").driver_source == ""


def write(folder: Path, text: str, name: str = "made/stem_length.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


OWN = '''"""Stem

A prompt.
"""
from dataclasses import dataclass

import numpy as np
from coursepkg.grading import Case


@dataclass
class Leaf:
    size: int = 1


def stem(x):
    """Return x."""
    return _same(x)


def _same(x):
    return Leaf(x).size


points = {"all": 1}
environment = "numpy"
seconds = 1.0
reference = stem
PUBLIC = [Case("all", {"x": 1}, 1)]
WRONG = []
FORBID = ()


def hidden(rng):
    yield Case("all", {"x": int(rng.integers(9))}, 1)


def oracle(x):
    return x
'''


def test_a_private_exercise_is_found_by_its_place(tmp_path):
    write(tmp_path, OWN)
    write(tmp_path, "1 / 0", "made/_helper.py")
    write(tmp_path, "1 / 0", "deep/down/here.py")
    write(tmp_path, "1 / 0", "above.py")
    assert set(exercise_ids([tmp_path])) - set(exercise_ids()) == {"made/stem-length"}
    assert exercise_ids(str(tmp_path)) == exercise_ids([tmp_path])
    made = load("made/stem-length", [tmp_path])
    assert (made.name, made.id) == ("stem", "made/stem-length")
    space: dict = {}
    exec(made.solution, space)
    assert space["stem"](4) == 4
    assert made.solution.index("class Leaf") < made.solution.index("def stem")
    assert "private" not in made.solution
    with pytest.raises(ValueError, match="there is no exercise 'made/stem-length'"):
        load("made/stem-length")


def test_a_private_exercise_is_read_anew_when_its_file_changes(tmp_path):
    path = write(tmp_path, OWN)
    before = load("made/stem-length", [tmp_path])
    assert load("made/stem-length", [tmp_path]).module is before.module
    path.write_text(OWN.replace("A prompt.", "Another, longer prompt."))
    assert load("made/stem-length", [tmp_path]).prompt == "Another, longer prompt."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n\nx = = 2\n", r"stem_length\.py, line 3: SyntaxError: invalid syntax"),
        ("\n\n1 / 0\n", r"stem_length\.py, line 3: ZeroDivisionError: division by zero"),
        ("x = 1\n", r"stem_length\.py: points and .* and FORBID missing"),
        ("import no_such_thing_here", r"stem_length\.py, line 1: ModuleNotFoundError: No module"),
    ],
)
def test_a_broken_private_exercise_says_where(tmp_path, text, words):
    write(tmp_path, text)
    for _ in range(2):
        with pytest.raises(ValueError, match=words):
            load("made/stem-length", [tmp_path])


def test_an_id_is_used_once(tmp_path):
    write(tmp_path / "a", OWN)
    write(tmp_path / "b", OWN, "made/stem-length.py")
    with pytest.raises(ValueError, match=r"stem-length\.py: .*stem_length\.py has an exercise"):
        exercise_ids([tmp_path / "a", tmp_path / "b"])
    write(tmp_path / "c", OWN, "convolution/output_size.py")
    with pytest.raises(ValueError, match="the course has an exercise 'convolution/output-size'"):
        load("convolution/output-size", [tmp_path / "c"])
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; name one that holds"):
        exercise_ids([tmp_path / "nowhere"])


def test_without_variants_there_is_one_exercise():
    one = load("convolution/output-size")
    assert one.variant(5) is one
    assert one.variant(5, "ada") is one
    assert not one.varies
    assert one.settings == {}


def test_as_it_stands_an_exercise_has_the_defaults_of_its_reference():
    base = load(POOL, [SHIPPED])
    assert base.varies
    assert base.settings == {"size": 3, "step": 2, "mode": "max"}
    assert "A window of 3 numbers" in base.prompt
    assert "largest. Write" in base.prompt
    assert "{{" not in base.prompt + base.starter + base.solution + "".join(base.hints)


def test_equal_seeds_and_learners_have_equal_variants():
    base = load(POOL, [SHIPPED])
    drawn = {(s, who): base.variant(s, who) for s in range(6) for who in ("", "ada", "bo")}
    again = {(s, who): base.variant(0).variant(s, who) for s, who in drawn}
    texts = {key: (v.prompt, v.starter, v.solution, v.hints) for key, v in drawn.items()}
    assert texts == {key: (v.prompt, v.starter, v.solution, v.hints) for key, v in again.items()}
    assert len({tuple(v.settings.values()) for v in drawn.values()}) > 6
    assert len({drawn[0, who].prompt for who in ("", "ada", "bo")}) > 1


def test_a_variant_is_independent_of_what_the_cases_draw():
    def settings_of_cases(rng):
        return {"dilation": int(rng.integers(1, 1_000_000))}

    made = from_module("made/span", module(variant=settings_of_cases, __doc__="T\n\nP\n"))
    assert made.variant(3).settings != settings_of_cases(np.random.default_rng(3))


def test_a_variant_changes_prompt_starter_solution_and_results_together():
    base = load(POOL, [SHIPPED])
    variant = next(v for v in map(base.variant, range(99)) if v.settings["mode"] == "range")
    size, step = variant.settings["size"], variant.settings["step"]
    assert f"A window of {size} numbers slides along each row of an array, {step}" in variant.prompt
    assert f"size={size}, step={step}, mode='range'):" in variant.starter
    assert "difference of the largest and the smallest" in variant.prompt
    assert 'is "range" here' in variant.hints[0]
    case = variant.public[0]
    (row,) = case.inputs["rows"].tolist()
    starts = range(0, len(row) - size + 1, step)
    expected = [[max(row[i : i + size]) - min(row[i : i + size]) for i in starts]]
    assert case.expected["result"].tolist() == expected
    assert variant.reference(case.inputs["rows"]).tolist() == expected
    assert variant.public[-1].expected is ValueError


def test_a_variant_without_a_parameter_of_that_name_is_refused():
    made = module(variant=lambda rng: {"stride": 2}, __doc__="T\n\nP\n")
    with pytest.raises(ValueError, match="span has no parameter with a default called stride"):
        from_module("made/span", made).variant(0)


FINGERPRINTS = """
from coursepkg.grading import load
for id in ("convolution/output-size", "convolution/train-digits", "convolution/training-step"):
    print(load(id).fingerprint(7))
"""


def test_fingerprints_are_equal_in_all_processes():
    runs = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINTS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    (text,) = runs
    ids = ("convolution/output-size", "convolution/train-digits", "convolution/training-step")
    assert text.split() == [load(id).fingerprint(7) for id in ids]


def test_whatever_decides_about_a_mark_is_in_the_fingerprint():
    made = from_module("made/span", module())
    (mistake,) = made.mistakes
    first = replace(made.public[0], expected={"result": 4})
    others = [
        replace(made, id="made/other"),
        replace(made, title="Other"),
        replace(made, groups={"taps": 1, "errors": 2}),
        replace(made, groups=dict(reversed(made.groups.items()))),
        replace(made, environment="torch"),
        replace(made, limits=Limits(1.0, memory=99)),
        replace(made, forbid=()),
        replace(made, public=made.public[:1]),
        replace(made, public=(first, *made.public[1:])),
        replace(made, public=(replace(first, expected={"result": 4.0}), *made.public[1:])),
        replace(made, mistakes=(replace(mistake, hint="Other."),)),
        replace(made, settings={"dilation": 2}),
    ]
    prints = {made.fingerprint(1), made.fingerprint(2), *(o.fingerprint(1) for o in others)}
    assert len(prints) == len(others) + 2
    assert made.fingerprint(1) == from_module("made/span", module()).fingerprint(1)


ARRAY = np.array([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ARRAY, ARRAY.astype(np.float32)),
        (ARRAY, ARRAY.T),
        (ARRAY, ARRAY.tolist()),
        ((1, (2, 3)), (1, 2, 3)),
        ((1, (2,), 3), ((1, 2), 3)),
        ([1], (1,)),
        (1, True),
        (1, 1.0),
        (1, np.int64(1)),
        (None, "None"),
        ("a", ("a",)),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        (0.0, -0.0),
        (AtLeast(0.5, np.array([1, 2])), AtLeast(0.6, np.array([1, 2]))),
        (AtLeast(0.5, np.array([1, 2])), AtLeast(0.5, np.array([1, 3]))),
    ],
)
def test_different_values_have_different_fingerprints(one, other):
    made = from_module("made/span", module())
    first = made.public[0]
    with_one, with_other = (
        replace(made, public=(replace(first, expected={"result": v}),)).fingerprint(0)
        for v in (one, other)
    )
    assert with_one != with_other


def test_what_cannot_be_encoded_is_refused():
    made = from_module("made/span", module())
    strange = replace(made, public=(replace(made.public[0], inputs={"kernel": object()}),))
    with pytest.raises(TypeError, match=r"a case holds <object .*; use numbers"):
        strange.fingerprint(0)


def test_environments_are_known():
    assert ENVIRONMENTS == {"numpy": ("numpy",), "torch": ("torch", "numpy")}
