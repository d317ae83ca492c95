"""What comes of running an answer: results, failures in the learner's words, limits."""

import linecache
import signal
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest

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


def test_nan_in_an_input_is_no_change():
    assert run(lambda x: x, {"x": np.array([np.nan])}, call, 1).changed == ()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix system")
@pytest.mark.parametrize(
    "loop", ["pass", "try: 1 / 0\n        except Exception: pass", "import time; time.sleep(9)"]
)
def test_an_endless_loop_is_stopped(loop):
    f = written(f"def f():\n    while True:\n        {loop}\n")
    start = time.monotonic()
    failure = run(f, {}, call, 0.2).failure
    assert time.monotonic() - start < 3
    assert failure.kinds[0] == "OutOfTime"
    assert failure.message == "did not finish within 0.2 s"
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
    before = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with time_limit(5):
            time.sleep(0.05)
        assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.25
        time.sleep(0.4)
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
