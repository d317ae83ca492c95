"""A submission from its files to results, and what may not be imported on the way."""

import asyncio
import itertools
import json
import random
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from coursepkg.grading.worker import cells, serve, wire
from coursepkg.grading.worker.serve import Session

GRADING = Path(wire.__file__).parents[1]
LIMITS = {"seconds": 1.0, "memory": 1024, "output": 64}


@pytest.fixture(autouse=True)
def no_running_loop():
    """Set aside the event loop of a browser test that ran before in this process."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.fixture(autouse=True)
def _main(monkeypatch):
    before = {*sys.modules}
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    yield
    for name in {*sys.modules} - before:
        if sys.modules[name].__spec__ is None:  # one that was handed in
            del sys.modules[name]


@pytest.fixture
def opened():
    """Open an answer; all settings are put back at the end."""
    sessions = []

    def open_answer(files, name: str = "f", **request):
        if isinstance(files, str):
            files = {"hw.py": files}
        session = Session()
        sessions.append(session)
        session.load({n: textwrap.dedent(text).encode() for n, text in files.items()})
        asked = {"name": name, "driver": "", "forbid": [], "allowed": ["numpy"], "limits": LIMITS}
        return session, session.open(asked | request)

    yield open_answer
    for session in sessions:
        for put_back in session.undo:
            put_back()


def test_a_result(opened):
    session, reply = opened("import numpy as np\nk = 2\ndef f(x):\n    return k * np.sum(x)\n")
    assert reply["status"] == "ready"
    assert reply["place"] == "hw.py, line 3"
    assert reply["source"] == "import numpy as np\nk = 2\ndef f(x):\n    return k * np.sum(x)"
    reply = session.run({"x": np.ones(3)})
    assert reply == {"outputs": {"result": 6.0}, "failure": None, "changed": (), "printed": ""}
    assert type(reply["outputs"]["result"]) is np.float64


def test_a_failure_names_cell_and_line(opened):
    cell = {"cell_type": "code", "source": "def f(x):\n    return x[5]"}
    book = json.dumps({"cells": [{"cell_type": "code", "source": "k = 1"}, cell]})
    session, _ = opened({"hw.ipynb": book})
    failure = session.run({"x": (1, 2)})["failure"]
    assert failure["kinds"][0] == "IndexError"
    assert failure["line"] == "cell 2, line 2, in f: return x[5]"


DRIVER = """
import math

def doubled(x):
    return 2 * x

def driver(Answer, x):
    layer = Answer()
    yield "first", layer.forward(x)
    yield "second", layer.forward(doubled(x) - math.floor(2.5))
"""


def test_a_driver_runs_in_a_namespace_of_its_own(opened):
    source = """
        def doubled(x): return "mine"
        class Layer:
            def forward(self, x): return 1 / x
    """
    session, reply = opened(source, "Layer", driver=DRIVER, driver_name="driver", kind="class")
    assert reply["status"] == "ready"
    assert session.run({"x": 2})["outputs"] == {"first": 0.5, "second": 0.5}
    failed = session.run({"x": 1})
    assert failed["outputs"] == {"first": 1.0}
    assert failed["failure"]["line"] == "line 4, in forward: def forward(self, x): return 1 / x"


@pytest.mark.parametrize(
    ("source", "status", "message"),
    [
        ("k = 1", "missing", "f is defined nowhere"),
        (
            "def f():\n    raise NotImplementedError",
            "unwritten",
            "f is not written yet (hw.py, line 1)",
        ),
        (
            "from coursepkg.convolution import f",
            "missing",
            "f is here, but it is no answer of your own: from coursepkg.convolution import f "
            "(hw.py, line 1)",
        ),
        (
            "def f(x):\nreturn x",
            "failed",
            "the definition of f cannot be read: IndentationError: expected an indented block "
            "after function definition on line 1 (hw.py, line 1)",
        ),
        (
            "def f(x, n=np.inf): return x",
            "failed",
            "the statement that defines f fails: NameError: name 'np' is not defined "
            "(hw.py, line 1)",
        ),
        (
            "import numpy as np\nf = np.zeros(3)",
            "failed",
            "f is a value of type ndarray, but a function is wanted",
        ),
        ("class f:\n    x = 1", "failed", "f is a class, but a function is wanted"),
        (
            "while True: pass\nT = []\nwhile True: T.append(1); T.clear()\ndef f(): return T",
            "failed",
            "what f needs fails: stopped after 0.2 s "
            "(line 3, in <module>: while True: T.append(1); T.clear())",
        ),
        (
            "def f(x):\n    import scipy\n    return x",
            "forbidden",
            "scipy may not be used here: NumPy and the standard library are what this exercise "
            "needs",
        ),
        (
            "from scipy.signal import convolve\ndef f(x): return convolve(x, x)",
            "forbidden",
            "scipy may not be used here: NumPy and the standard library are what this exercise "
            "needs (hw.py, line 1)",
        ),
        (
            "from scipy.signal import convolve as f",
            "forbidden",
            "scipy may not be used here: NumPy and the standard library are what this exercise "
            "needs (hw.py, line 1)",
        ),
        (
            "from coursepkg.a import g\ndef f(x): return g(x)",
            "forbidden",
            "coursepkg may not be used here: an answer has to stand by itself (hw.py, line 1)",
        ),
        (
            "import torch\n@torch.no_grad()\ndef f(): return 1",
            "forbidden",
            "torch may not be used here: NumPy and the standard library are what this exercise "
            "needs (hw.py, line 1)",
        ),
        (
            "from torch import *\ndef f(): return zeros(1)",
            "forbidden",
            "torch may not be used here: NumPy and the standard library are what this exercise "
            "needs (hw.py, line 1)",
        ),
        (
            "import torch\nhelp = torch\nf = lambda: torch.zeros(3)",
            "forbidden",
            "torch may not be used here: NumPy and the standard library are what this exercise "
            "needs (hw.py, line 1)",
        ),
        ("from numpy import nosuch as f", "failed", "cannot import name 'nosuch' from 'numpy'"),
        (
            "import json\ndef g(): return json.dumps(1)\ndef f(): return g()",
            "forbidden",
            "json may not be used here: this exercise is to be solved without (hw.py, line 1)",
        ),
    ],
)
def test_why_there_is_no_answer(opened, source, status, message):
    limits = LIMITS | {"seconds": 0.2}
    _, reply = opened(source, kind="function", forbid=["json"], limits=limits)
    told = re.split(r": def| \(/", reply["message"])[0]
    assert (reply["status"], told) == (status, message)


def test_a_file_that_takes_too_long_to_read_is_mentioned(opened, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(serve, "READING", 100)
    monkeypatch.setattr(serve, "process_time", lambda: 0)
    monkeypatch.setattr(cells, "process_time", lambda: next(ticks))
    text = "x = 1\n" * 200
    _, reply = opened({"a.py": text, "b.py": "k = 1"})
    message = "f is defined nowhere; a.py cannot be read: it takes too long"
    assert (reply["status"], reply["message"]) == ("missing", message)
    ticks = itertools.count()
    assert opened({"a.py": text, "b.py": "def f(): return 1"})[1]["status"] == "ready"


def test_a_file_that_is_known_to_take_too_long_is_not_read_again(monkeypatch):
    read = []
    monkeypatch.setattr(
        serve, "read_page", lambda name, *rest: read.append(name) or page(name, *rest)
    )
    page = cells.read_page
    session = Session()
    files = {"a.py": b"def f(): return 1", "b.py": b"k = 1"}
    assert session.load(files) == {"late": (), "problems": {}}
    slow = {"a.py": "a.py cannot be read: it takes too long"}
    assert session.load(files, ("a.py",)) == {"late": ("a.py",), "problems": slow}
    assert read == ["b.py", "a.py", "b.py"]
    assert session.pages["b.py"].statements


def test_all_definitions_that_are_tried_share_the_time_of_one(opened):
    endless = "class f:\n    while True: pass\n"
    begin = time.process_time()
    _, reply = opened(endless * 5, limits=LIMITS | {"seconds": 0.5})
    assert time.process_time() - begin < 1.5
    assert reply["message"].startswith("what f needs fails: stopped after")


def test_a_damaged_notebook_is_mentioned(opened):
    _, reply = opened({"hw.ipynb": '{"cells": ['})
    assert reply["status"] == "missing"
    assert reply["message"].startswith("f is defined nowhere; hw.ipynb is damaged: Expecting value")


@pytest.mark.parametrize(
    "source",
    [
        "import scipy, numpy as np\nfrom torch import nn\ndef f(): return int(np.sum([1]))",
        "try:\n    import numba\nexcept ImportError:\n    numba = None\ndef f(): return 1",
        "import scipy\nT = []\nfor i in [1]:\n    T.append(i)\n    scipy.show()\n"
        "def f(): return T[0]",
        "import json\njson.x = 1\ndef f(): return 1\nf = f(3)",
        "def f(): return 1\nf = f()\nf = 1 / 0",
        "def f(): return k\nk = 1",
        "k = j\nj = 1\ndef f(): return k",
        "from __future__ import annotations\ndef f() -> Unknown: return 1",
        "text = 'def f(): return 1'\nexec(text)\n1 / 0",
        "import asyncio\nasync def g(): return 1\nk = await g()\ndef f(): return k",
        "name = input()\ndisplay(3)\ndef f():\n    display(3)\n"
        "    get_ipython().run_line_magic('x', '')\n    return 1",
        "from math import *\ndef f(): return floor(1.5)",
        "import sys\nsys.setrecursionlimit(5000)\nsys.exit(3)\ndef f(): return 1",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
        "def f(): return A().x",
        "import matplotlib.pyplot as plt, torch\nfrom numpy.typing import NoSuch\n"
        "def f(ax: plt.Axes | None = None, n: int | torch.Tensor = 1) -> NoSuch['x']: return n",
        "import scipy.signal\nclass Row:\n    x: scipy.signal.Window\ndef f(): return len([Row])",
        "from scipy import *\nfrom math import *\ndef f(): return int(sqrt(len('a')))",
        "from pathlib import Path\nHERE = Path(__file__).name\ndef f(): return len(HERE[:1])",
        "import numpy as np\ndef f(): return 1\nf = np.mean([1])\nf = 3 > 2\nf = np.ones(3)\n"
        "f = np.zeros(4)\nf = np.zeros(5)\nf = np.zeros(6)",
        "import sys\nsys.setrecursionlimit(20000)\ndef g(n): return n and 1 + g(n - 1)\n"
        "def f(): return g(5000) // 5000",
        "class D: x = 1\ndef f(): return eval('D.x')",
        "import importlib\nmath = importlib.import_module('math')\ndef f(): return math.floor(1.5)",
    ],
)
def test_answers_in_spite_of_what_stands_around_them(opened, source):
    session, reply = opened(source, kind="function", forbid=["json"])
    assert (reply["status"], reply["message"]) == ("ready", "")
    assert session.run({})["outputs"] == {"result": 1}


def test_input_finds_nobody(opened):
    session, _ = opened("def f(): return input('?')")
    failure = session.run({})["failure"]
    assert failure["message"] == "input() finds nobody to answer while work is graded"


def test_an_import_that_is_refused_at_last(opened):
    session, _ = opened("def f(): return __import__('scipy')")
    failure = session.run({})["failure"]
    assert failure["kinds"][0] == "ImportError"
    assert failure["message"].startswith("scipy may not be used here")
    assert failure["line"].startswith("line 1, in f")


def test_what_libraries_import_is_their_own_affair(opened):
    source = "import xml.dom.minidom\ndef f(): return xml.dom.minidom.parseString('<a/>').nodeType"
    session, reply = opened(source, forbid=["pyexpat"])
    assert reply["status"] == "ready"
    assert session.run({})["outputs"] == {"result": 9}


def test_a_name_whose_statement_failed_is_explained(opened):
    session, reply = opened("k = [1][2]\ndef f(): return k")
    assert reply["status"] == "ready"
    assert session.run({})["failure"]["message"] == (
        "name 'k' is not defined; the statement that defines k fails: "
        "IndexError: list index out of range (hw.py, line 1)"
    )


def test_memory_is_told_in_words(opened):
    session, _ = opened("def f(): raise MemoryError('no')")
    failure = session.run({})["failure"]
    assert failure["kinds"][:2] == ("OutOfMemory", "MemoryError")
    assert failure["message"] == "needed more than 1024 MB: no"


FILES = {
    "a.py": "def f(): return 'a'",
    "b.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": "def f(): return 'b'"}]}),
    "c.py": "def f(): raise NotImplementedError",
}


def test_of_several_files_the_last_counts_that_is_written(opened):
    session, reply = opened(FILES)
    assert reply["place"] == "b.ipynb, cell 1, line 1"
    session, _ = opened(FILES | {"0/f.py": "def f(): return 'named'"})
    assert session.run({})["outputs"] == {"result": "named"}


@pytest.mark.parametrize(
    "copy",
    [
        *("hw2 (1).py", "hw2 (old).py", "hw_old.py", "hw2-Copy1.py", "hw2 copy.py"),
        *("hw2 - Kopie.py", "z/copy of hw.py", "x/.ipynb_checkpoints/hw-checkpoint.py"),
    ],
)
def test_copies_that_were_put_aside_come_last(opened, copy):
    session, _ = opened({"hw1.py": "def f(): return 'mine'", copy: "def f(): return 'old'"})
    assert session.run({})["outputs"] == {"result": "mine"}
    session, _ = opened({"hw1.py": "k = 1", copy: "def f(): return 'old'"})
    assert session.run({})["outputs"] == {"result": "old"}


def test_a_file_whose_name_only_looks_like_that_is_no_copy(opened):
    files = {"hw1.py": "def f(): return 1", "threshold_copyright.py": "def f(): return 2"}
    session, _ = opened(files)
    assert session.run({})["outputs"] == {"result": 2}


HELPERS = {
    "x/hw.py": """
        import helpers, math
        from helpers import g as h
        import src.deep as deep
        import src.deep
        from src import deep as deeper, other
        from . import helpers as again
        from .src.other import M
        def f():
            own = helpers.g(), h(), deep.K, src.deep.K, deeper.K, other.M, again.g(), M
            return (*own, math.floor(1.5))
    """,
    "x/helpers.py": "import numpy as np\nimport scipy\n1 / 0\ndef g(): return int(np.sum([1]))",
    "x/src/__init__.py": "",
    "x/src/deep.py": "from .other import M\nK = 3",
    "x/src/other.py": "M = 4",
    "x/math.py": "floor = None",
}


def test_modules_that_were_handed_in(opened):
    session, reply = opened(HELPERS)
    assert (reply["status"], reply["message"]) == ("ready", "")
    assert session.run({})["outputs"] == {"result": (1, 1, 3, 3, 3, 4, 1, 4, 1)}


def test_classes_of_data_in_a_module_that_was_handed_in(opened):
    helpers = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Row:
            x: int
    """
    session, _ = opened(
        {"hw.py": "from rows import Row\ndef f(): return Row(2).x", "rows.py": helpers}
    )
    assert session.run({})["outputs"] == {"result": 2}
    assert sys.modules["rows"].Row is session.work.own["rows"].Row


def test_modules_that_were_handed_in_are_no_way_around_what_is_forbidden(opened):
    helpers = "import json\ndef g(): return json.dumps(1)"
    _, reply = opened(HELPERS | {"x/helpers.py": helpers}, forbid=["json"])
    assert (reply["status"], reply["message"]) == (
        "forbidden",
        "json may not be used here: this exercise is to be solved without (x/helpers.py, line 1)",
    )
    course = {"hw.py": "from coursepkg.a import f", "coursepkg/a.py": "def f(): return 1"}
    assert opened(course)[1]["status"] == "missing"
    assert opened({"coursepkg/a.py": "def f(): return 1"})[1]["status"] == "missing"
    assert (
        opened(course | {"hw.py": "import coursepkg.a\nf = coursepkg.a.f"})[1]["status"]
        == "forbidden"
    )


def test_every_case_begins_alike(opened):
    source = """
        import random
        import numpy as np
        def f(): return random.random(), float(np.random.rand())
    """
    session, _ = opened(source)
    random.seed(5)
    before = random.getstate()
    first = session.run({})["outputs"]
    assert session.run({})["outputs"] == first
    assert len(set(first["result"])) == 2
    random.setstate(before)


def test_what_one_exercise_sets_does_not_reach_the_next(opened):
    depth = sys.getrecursionlimit()
    session, _ = opened("import sys\nsys.x = sys.setrecursionlimit(4321)\ndef f(): return sys.x")
    request = {"name": "g", "forbid": [], "allowed": None, "limits": LIMITS}
    assert sys.getrecursionlimit() == 4321
    session.open(request)
    assert sys.getrecursionlimit() == depth


def test_only_files_that_could_not_be_read_have_problems():
    files = {
        "a.ipynb": b"{",
        "b.py": b"f = 1",
        "c.md": b"# Words",
        "d.py": b"Dear you",
        "e.py": b"",
    }
    problems = Session().load(files)["problems"]
    assert {name: problem.partition(":")[0] for name, problem in problems.items()} == {
        "a.ipynb": "a.ipynb is damaged",
        "d.py": "d.py is no Python",
    }


def test_large_results_are_strangers(opened):
    session, _ = opened(
        "import numpy as np\ndef f(): return np.zeros(200_000)", limits=LIMITS | {"output": 1}
    )
    result = session.run({})["outputs"]["result"]
    assert type(result).__name__ == "array too large to be handed back"


def test_a_request_that_makes_no_sense():
    with pytest.raises(ValueError, match="there is no request 'fly'"):
        Session().answer({"do": "fly"})
    with pytest.raises(ValueError, match="open an exercise first"):
        Session().answer({"do": "run", "inputs": {}})


class Served:
    """A process that serves, and this side of its socket."""

    def __init__(self, **files: str):
        ours, theirs = socket.socketpair()
        program = (
            "import socket, sys; from worker.serve import serve; "
            f"serve(socket.socket(fileno={theirs.fileno()}))"
        )
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                cwd=GRADING,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.sock = ours
        self.ask(do="load", files={f"{n}.py": text.encode() for n, text in files.items()})

    def ask(self, **request):
        wire.write(self.sock, request | {"number": 7}, time.monotonic() + 60)
        reply = wire.read(self.sock, 1 << 26, time.monotonic() + 60)
        assert reply.pop("number") == 7
        return reply

    def open(self, name: str = "f", **request):
        asked = {"name": name, "driver": "", "forbid": [], "allowed": ["numpy"], "limits": LIMITS}
        return self.ask(do="open", **(asked | request))

    def run(self, **inputs):
        return self.ask(do="run", inputs=inputs)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()
        with self.process:
            self.process.kill()

    def end(self) -> tuple[int, str]:
        self.sock.close()
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def test_a_process_serves_until_the_other_side_is_gone():
    with Served(
        hw="import numpy as np\ndef f(x): return np.cumsum(x)\ndef g(x): return x\n"
    ) as served:
        assert served.open()["status"] == "ready"
        assert served.run(x=np.arange(3))["outputs"]["result"].tolist() == [0, 1, 3]
        assert served.open("g")["status"] == "ready"
        assert served.run(x=(1, "a"))["outputs"]["result"] == (1, "a")
        assert served.end() == (0, "")


def test_importlib_obeys_where_a_learners_code_calls_it():
    source = """
import importlib
def f(name): return importlib.import_module(name).__name__
"""
    with Served(hw=source, own="k = 1") as served:
        served.open()
        assert served.run(name="numpy.linalg")["outputs"]["result"] == "numpy.linalg"
        assert served.run(name="own")["outputs"]["result"] == "own"
        failure = served.run(name="coursepkg.testing")["failure"]
        assert failure["kinds"][0] == "ImportError"
        assert (
            failure["message"] == "coursepkg may not be used here: an answer has to stand by itself"
        )
        assert served.end()[0] == 0


def test_an_endless_loop_is_stopped_and_the_next_case_goes_on():
    with Served(hw="def f(x):\n    while x: pass\n    return 3\n") as served:
        served.open(limits=LIMITS | {"seconds": 0.2})
        failure = served.run(x=1)["failure"]
        assert (failure["kinds"][0], failure["message"]) == ("OutOfTime", "stopped after 0.2 s")
        assert failure["line"] == "line 2, in f: while x: pass"
        assert served.run(x=0)["outputs"] == {"result": 3}
        assert served.end() == (0, "")


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="needs limits of processor time")
def test_compiled_code_that_does_not_return_leaves_a_trace():
    with Served(hw="def f():\n    return (\n        sum(range(10**12))\n    )\n") as served:
        served.open(limits=LIMITS | {"seconds": 0.1})
        with pytest.raises(EOFError):
            served.run()
        code, errors = served.end()
        assert code == -signal.SIGXCPU
        found = re.findall(r'^  File "([^/<"][^"]*)", line (\d+) in (\S+)$', errors, re.MULTILINE)
        assert found[0] == ("hw.py", "3", "f")
