"""What comes of running an answer: results, failures in the learner's words, limits."""

import gc
import linecache
import random
import signal
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from coursepkg.grading.worker.run import OutOfTime, call, run, time_limit


def written(source: str, name: str = "f", file: str = "cell.py"):
    """Define a function as a notebook cell would: with a source that tracebacks can show."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), space)
    return space[name]


def test_a_result_comes_back_by_name():
    outcome = run(lambda x: 2 * x, {"x": 3}, call, 1)
    assert (outcome.outputs, outcome.failure, outcome.changed) == ({"result": 6}, None, ())


def test_a_failure_names_the_learners_own_line():
    f = written("import numpy as np\ndef f(x):\n    y = x + 1\n    return np.linalg.inv(y)\n")
    outcome = run(f, {"x": np.ones(3)}, call, 1)
    assert outcome.failure.kinds[:2] == ("LinAlgError", "ValueError")
    assert "1-dimensional" in outcome.failure.message
    assert outcome.failure.line == "line 4, in f: return np.linalg.inv(y)"
    assert outcome.outputs == {}


def test_the_notes_of_an_exception_are_not_its_message():
    f = written(
        'def f():\n    e = ValueError("negative: -1")\n    e.add_note("see: docs")\n    raise e\n'
    )
    failure = run(f, {}, call, 1).failure
    assert (failure.kinds[0], failure.message) == ("ValueError", "negative: -1")


def test_a_failure_before_the_learners_code_has_no_line():
    failure = run(lambda n: n, {"size": 3}, call, 1).failure
    assert failure.kinds[0] == "TypeError"
    assert failure.line == ""


def test_the_drivers_line_is_not_the_learners():
    def driver(Answer, size):
        yield "result", Answer(size, size)

    failure = run(lambda n: n, {"size": 3}, driver, 1).failure
    assert failure.kinds[0] == "TypeError"
    assert failure.line == ""


def test_results_before_a_failure_are_kept():
    def driver(Answer, x):
        yield "first", Answer(x)
        yield "second", Answer(x - 1)

    outcome = run(lambda x: 1 // x, {"x": 1}, driver, 1)
    assert outcome.outputs == {"first": 1}
    assert outcome.failure.kinds[0] == "ZeroDivisionError"


def test_results_are_kept_as_they_were_when_they_came():
    def driver(Answer, x):
        buffer = np.zeros(1)
        for name in ("first", "second"):
            buffer += x
            yield name, buffer

    outputs = run(None, {"x": 1}, driver, 1).outputs
    assert (outputs["first"], outputs["second"]) == (np.ones(1), np.full(1, 2.0))


@pytest.mark.parametrize(
    "change", ["x[0] = 7", "x.shape = (1, 2)", "x += 0.5", "x[:] = np.nan", "x.dtype = np.int64"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_inputs_changed_in_place_are_named_and_stay_whole_for_others(change):
    x = np.array([1.0, 2.0])
    f = written(f"import numpy as np\ndef f(x, y):\n    {change}\n    return x\n")
    outcome = run(f, {"x": x, "y": 3}, call, 1)
    assert outcome.changed == ("x",)
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("results", "names"), [(0, []), (2, ["a", "b"]), (9, ["a", "b", "c"])])
def test_no_more_is_run_than_the_results_that_are_wanted(results, names):
    def driver(answer):
        for name in "abc":
            answer(name)
            yield name, name

    ran = []
    outcome = run(ran.append, {}, driver, 1, results=results)
    assert [*outcome.outputs] == ran == names
    assert outcome.failure is None


def test_nan_in_an_input_is_no_change():
    assert run(lambda x: x, {"x": np.array([np.nan])}, call, 1).changed == ()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
@pytest.mark.parametrize(
    "loop", ["pass", "try: 1 / 0\n        except Exception: pass", "import time; time.sleep(9)"]
)
def test_an_endless_loop_is_stopped(loop):
    f = written(f"def f():\n    while True:\n        {loop}\n")
    failure = run(f, {}, call, 0.2).failure
    assert failure.kinds[0] == "OutOfTime"
    assert failure.message == "stopped after 0.2 s"
    assert failure.line.startswith("line ")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
def test_the_alarm_comes_again_if_a_bare_except_swallows_it():
    source = """
        import time
        def f():
            try: time.sleep(9)
            except: pass
            while True: pass
    """
    failure = run(written(textwrap.dedent(source)), {}, call, 0.2).failure
    assert failure.kinds[0] == "OutOfTime"
    assert failure.line.endswith("while True: pass")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
def test_an_alarm_that_was_set_goes_on():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    before = signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        with time_limit(99):
            time.sleep(0.05)
        assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 59.96
        signal.raise_signal(signal.SIGALRM)
        assert rung
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *before)


def test_no_alarm_stays_behind_and_there_is_none_in_threads():
    def limited():
        with time_limit(0.01):
            time.sleep(0.1)
        done.append(True)

    done = []
    thread = threading.Thread(target=limited)
    thread.start()
    thread.join()
    assert done


def test_out_of_time_passes_except_exception():
    assert not issubclass(OutOfTime, Exception)


def test_what_the_answer_prints_is_caught():
    f = written("import sys\ndef f():\n    print('out')\n    sys.stderr.write('and err')\n")
    assert run(f, {}, call, 1).printed == "out\nand err"


def test_a_warning_is_text_and_no_error():
    def f():
        warnings.warn("careful", stacklevel=1)
        return 1

    outcome = run(f, {}, call, 1)
    assert outcome.outputs == {"result": 1}
    assert "careful" in outcome.printed


def test_sys_exit_is_a_failure_like_any_other():
    assert run(lambda: sys.exit(3), {}, call, 1).failure.kinds[0] == "SystemExit"


def test_an_exception_that_cannot_be_printed_is_a_failure_too():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    def f():
        raise Odd

    assert run(f, {}, call, 1).failure.kinds[0] == "Odd"


def test_the_person_at_the_keyboard_can_interrupt():
    def f():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(f, {}, call, 1)


def test_running_needs_nothing_else_of_the_course():
    source = written.__globals__["run"].__code__.co_filename
    with open(source) as file:  # noqa: PTH123
        imports = [line for line in file if line.startswith(("import", "from"))]
    assert imports
    assert not [line for line in imports if "coursepkg" in line]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
def test_processor_time_is_not_time():
    assert run(lambda: time.sleep(0.3), {}, call, 0.1, "processor").failure is None
    f = written("def f():\n    while True: pass\n")
    failure = run(f, {}, call, 0.1, "processor").failure
    assert failure.message == "stopped after 0.1 s"


SWALLOWED = """
import signal, time
def f(reset):
    start = time.process_time()
    if reset:
        signal.setitimer(signal.ITIMER_PROF, 0)
    while time.process_time() - start < 0.4:
        try:
            while time.process_time() - start < 0.4: pass
        except: pass
    return 3
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
@pytest.mark.parametrize("reset", [True, False])
def test_a_result_that_comes_too_late_does_not_count(reset):
    outcome = run(written(SWALLOWED), {"reset": reset}, call, 0.1, "processor")
    assert outcome.outputs == {}
    assert outcome.failure.kinds[0] == "OutOfTime"


def test_nobody_sits_at_the_keyboard_of_graded_work():
    f = written("def f():\n    raise KeyboardInterrupt\n")
    assert run(f, {}, call, 1, "processor").failure.kinds[0] == "KeyboardInterrupt"


TROUBLE = {
    "ends the program": "sys.exit(3)",
    "raises what cannot be told": "raise Mute",
    "raises what never stops telling": "raise Endless",
    "raises with such a cause": "raise ValueError('x') from Endless()",
    "raises a class without a name": "raise Nameless('x')",
    "closes its output": "sys.stdout.close(); 1 / 0",
    "throws its output away": "sys.stdout = sys.stderr = None; 1 / 0",
    "leaves a generator that does not close": "next(stubborn()); 1 / 0",
    "raises in the end": "x = Late(); 1 / 0",
    "recurses": "return f()",
    "warns of what cannot be told": "warnings.warn_explicit(Loud(), None, 'x', 1)",
    "groups": "raise ExceptionGroup('x', [ValueError(1)])",
    "raises with a strange loader": "globals()['__loader__'] = Mute(); 1 / 0",
    "raises no exception": "raise 3",
    "runs a thread": "threading.Thread(target=time.sleep, args=(0.2,)).start(); 1 / 0",
    "breaks NumPy": "np.seterr = np.asarray = np.ndarray = None; 1 / 0",
}
TROUBLEMAKER = """
import sys, threading, time, warnings
import numpy as np
class Mute(Exception):
    def __str__(self): raise SystemExit
    __repr__ = __str__
class Endless(Exception):
    def __str__(self):
        while True: pass
class Meta(type):
    @property
    def __name__(cls): raise RuntimeError
class Nameless(Exception, metaclass=Meta): pass
class Loud(UserWarning):
    def __str__(self): raise ValueError
class Late:
    def __del__(self): raise ValueError
def stubborn():
    try: yield
    finally: raise ValueError
def f():
    {}
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("clock", ["wall", "processor"])
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
def test_whatever_an_answer_does_there_is_an_outcome(trouble, clock, monkeypatch):
    for name in ("seterr", "asarray", "ndarray"):
        monkeypatch.setattr(np, name, getattr(np, name))
    before = sys.stdout, sys.stderr
    f = written(TROUBLEMAKER.format(trouble))
    outcome = run(f, {}, call, 0.3, clock)
    assert outcome.failure is not None
    assert outcome.outputs == {}
    assert (sys.stdout, sys.stderr) == before
    gc.collect()
    monkeypatch.undo()
    assert run(lambda x: x, {"x": 3}, call, 1, clock).outputs == {"result": 3}


def test_settings_do_not_reach_the_next_case():
    source = """
        import random, sys, warnings
        import numpy as np
        def f():
            sys.setrecursionlimit(5000)
            random.seed(1)
            np.random.seed(1)
            np.seterr(all="raise")
            np.set_printoptions(precision=1)
            warnings.simplefilter("error")
    """

    def now():
        return (
            sys.getrecursionlimit(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            np.geterr(),
            np.get_printoptions(),
            list(warnings.filters),
        )

    before = now()
    assert run(written(textwrap.dedent(source)), {}, call, 1).failure is None
    assert now() == before


def test_settings_of_torch_do_not_reach_the_next_case():
    state = torch.get_rng_state()

    def f():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.manual_seed(1)

    run(f, {}, call, 1)
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_too_much_print_is_cut():
    def f():
        for _ in range(30):
            print("x" * 9_999)

    printed = run(f, {}, call, 1).printed
    assert len(printed) < 100_100
    assert printed.endswith("... and more\n")


def test_a_long_message_is_cut_and_addresses_are_left_out():
    def f():
        raise ValueError(f"{object()} " + "x" * 10_000)

    message = run(f, {}, call, 1).failure.message
    assert message.startswith("<object object> xxx")
    assert len(message) <= 2000


def test_arrays_within_tuples_may_not_be_changed_either():
    def f(x):
        x[0][1500] = 7

    x = (np.zeros(2000), 1)
    assert run(f, {"x": x}, call, 1).changed == ("x",)
    assert x[0][1500] == 0


def test_results_stand_as_they_are_kept():
    assert run(lambda: 3, {}, call, 1, keep=str).outputs == {"result": "3"}


def test_a_cell_is_named():
    f = written("def f():\n    1 / 0\n", file="hw.ipynb, cell 7")
    assert run(f, {}, call, 1).failure.line == "cell 7, line 2, in f: 1 / 0"
