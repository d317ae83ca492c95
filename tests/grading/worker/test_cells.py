"""From clumsy files to the statements that an answer needs."""

import itertools
import json
import textwrap
import time

import pytest

from coursepkg.grading.worker import cells
from coursepkg.grading.worker.cells import read_cells, read_page


def notebook(*sources, **more) -> bytes:
    cells = [
        source
        if isinstance(source, dict)
        else {"cell_type": "code", "metadata": {}, "outputs": [], "source": source}
        for source in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, **more}).encode()


def chosen(source, name: str = "f", file: str = "hw.py") -> list[str]:
    """Return the first lines of the statements that are run."""
    data = textwrap.dedent(source).encode() if isinstance(source, str) else source
    slices = list(read_page(file, data).slices(name))
    return [s.text.split("\n")[0] for s in slices[0].statements] if slices else []


SLICES = {
    "nothing else is run": (
        """
        import numpy as np
        import matplotlib.pyplot as plt
        name = input("Who are you?")
        def f(x):
            return np.sum(x)
        plt.plot(f([1, 2]))
        1 / 0
        """,
        ["import numpy as np", "def f(x):"],
    ),
    "the last definition counts": (
        "def f(): return 1\ndef f(): return 2\n",
        ["def f(): return 2"],
    ),
    "a stub after it does not": (
        "def f(): return 1\ndef f():\n    'Docs.'\n    raise NotImplementedError\n",
        ["def f(): return 1"],
    ),
    "a stub before it does not": (
        "def f(): raise NotImplementedError('later')\ndef f(): return 1\n",
        ["def f(): return 1"],
    ),
    "a class of stubs is a stub": (
        "class f:\n def a(self): return 1\n"
        "class f:\n 'D.'\n def a(self): raise NotImplementedError\n",
        ["class f:"],
    ),
    "helpers of helpers": (
        "A = 1\nB = A + 1\nC = 3\ndef g(): return B\ndef h(): return C\ndef f(): return g()\n",
        ["A = 1", "B = A + 1", "def g(): return B", "def f(): return g()"],
    ),
    "helpers below": ("def f(): return g()\ndef g(): return 1\n", None),
    "the last helper counts": (
        "def g(): return 1\ndef f(): return g()\ndef g(): return 2\n",
        ["def f(): return g()", "def g(): return 2"],
    ),
    "a number means what it meant where it was used": (
        "k = 1\ndef f(): return k\nk = 2\nprint(k)\n",
        ["k = 1", "def f(): return k"],
    ),
    "a number from further down, if there is none above": (
        "def f(): return k\nk = 2\nk = 3\n",
        ["def f(): return k", "k = 2"],
    ),
    "a table filled in a loop": (
        "T = []\nfor i in range(3):\n    T.append(i)\ndef f(): return T\nprint(T)\n",
        ["T = []", "for i in range(3):", "def f(): return T"],
    ),
    "a table filled in every way": (
        """
        import random
        T = [0] * 9
        T[0] = 1
        T += [2]
        del T[3]
        T.sort()
        random.shuffle(T)
        def fill(t): t[5] = 5
        fill(T)
        show(T)
        print(T)
        def f(): return T
        """,
        [
            *("import random", "T = [0] * 9", "T[0] = 1", "T += [2]", "del T[3]", "T.sort()"),
            *("random.shuffle(T)", "def fill(t): t[5] = 5", "fill(T)", "def f(): return T"),
        ],
    ),
    "a table filled through global": (
        "def init():\n    global T\n    T = [1]\nT = None\ninit()\ndef f(): return T\n",
        ["def init():", "T = None", "init()", "def f(): return T"],
    ),
    "a method set from outside": (
        "class f: pass\nclass f:\n    x = 1\ndef forward(self): return 1\nf.forward = forward\n"
        "f.train()\n",
        ["class f:", "def forward(self): return 1", "f.forward = forward"],
    ),
    "setattr": (
        "class f:\n    x = 1\nsetattr(f, 'g', lambda self: 1)\n",
        ["class f:", "setattr(f, 'g', lambda self: 1)"],
    ),
    "another name": (
        "def loops(): return 1\ndef fast(): return 2\nf = fast\nprint(f())\n",
        ["def fast(): return 2", "f = fast"],
    ),
    "partial": (
        "from functools import partial\ndef g(x): return x\nf = partial(g, 1)\n",
        ["from functools import partial", "def g(x): return x", "f = partial(g, 1)"],
    ),
    "wrapped after the fact": (
        "import functools\ndef f(): return 1\nf = functools.cache(f)\n",
        ["import functools", "def f(): return 1", "f = functools.cache(f)"],
    ),
    "a lambda": ("k = 2\nf = lambda x: k * x\n", ["k = 2", "f = lambda x: k * x"]),
    "a walrus": ("print(f := lambda x: x)\n", ["print(f := lambda x: x)"]),
    "two names at once": ("def g(): return 1\nf, h = g, 2\n", ["def g(): return 1", "f, h = g, 2"]),
    "an annotated name": ("f: object = lambda: 1\n", ["f: object = lambda: 1"]),
    "decorators": (
        "import functools\ndef log(g): return g\n@log\n@functools.cache\ndef f(): return 1\n",
        ["import functools", "def log(g): return g", "@log"],
    ),
    "defaults and annotations": (
        "k = 3\nfrom typing import Any\ndef f(x: Any, n=k): return n\n",
        ["k = 3", "from typing import Any", "def f(x: Any, n=k): return n"],
    ),
    "base classes": (
        "class Base:\n    x = 1\nclass f(Base):\n    y = Base.x\n",
        ["class Base:", "class f(Base):"],
    ),
    "a local name is no helper": (
        "x = train()\ni = 3\ndef f(x): return [i for i in x]\n",
        ["def f(x): return [i for i in x]"],
    ),
    "within if": (
        "FAST = True\nif FAST:\n    def f(): return 1\nelse:\n    def f(): return 2\n",
        ["FAST = True", "if FAST:"],
    ),
    "within try": (
        "try:\n    from numba import njit\nexcept ImportError:\n    njit = lambda g: g\n"
        "@njit\ndef f(): return 1\n",
        ["try:", "@njit"],
    ),
    "within with": (
        "import contextlib\nwith contextlib.suppress(Exception):\n    def f(): return 1\n",
        ["import contextlib", "with contextlib.suppress(Exception):"],
    ),
    "within for": ("for k in [1]:\n    def f(): return k\n", ["for k in [1]:"]),
    "within the main block": (
        "if __name__ == '__main__':\n    def f(): return 1\n",
        ["if __name__ == '__main__':"],
    ),
    "the main block otherwise": (
        "def f(): return 1\nif __name__ == '__main__':\n    print(f())\n",
        ["def f(): return 1"],
    ),
    "async": (
        "import asyncio\nasync def g(): return 1\ndef f(): return asyncio.run(g())\n",
        ["import asyncio", "async def g(): return 1", "def f(): return asyncio.run(g())"],
    ),
    "a cache in a closure": (
        "def make():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n"
        "        return n\n"
        "    return g\nf = make()\n",
        ["def make():", "f = make()"],
    ),
    "a counter": (
        "calls = 0\ndef f():\n    global calls\n    calls += 1\n    return calls\nf()\n",
        ["calls = 0", "def f():"],
    ),
    "star imports": (
        "from math import *\nfrom os import path\ndef f(): return sqrt(len('ab'))\n",
        ["from math import *", "def f(): return sqrt(len('ab'))"],
    ),
    "no star import without need": (
        "from math import *\nk = 1\ndef f(): return k\n",
        ["k = 1", "def f(): return k"],
    ),
    "star imports of what is a builtin, too": (
        "from numpy import *\ndef f(x): return sum(x, axis=0)\n",
        ["from numpy import *", "def f(x): return sum(x, axis=0)"],
    ),
    "an empty class with a base": (
        "class Mine:\n    x = 1\nclass f(Mine): pass\n",
        ["class Mine:", "class f(Mine): pass"],
    ),
    "an empty class with a decorator": (
        "def fill(c): c.x = 1; return c\n@fill\nclass f:\n    'Docs.'\n",
        ["def fill(c): c.x = 1; return c", "@fill"],
    ),
    "a class of stubs is one with a base, too": (
        "class f:\n x = 1\nclass f(object):\n def a(self): raise NotImplementedError\n",
        ["class f:"],
    ),
    "a table filled by a decorator": (
        """
        OPS = {}
        def register(name):
            def wrap(g):
                OPS[name] = g
                return g
            return wrap
        @register("one")
        def one(): return 1
        @other
        def two(): return 2
        def f(): return OPS["one"]()
        """,
        ["OPS = {}", "def register(name):", '@register("one")', 'def f(): return OPS["one"]()'],
    ),
    "a table that is a decorator itself": (
        "class R:\n    x = 1\nops = R()\n@ops('a')\ndef g(): return 1\n"
        "@ops.late\ndef h(): return 1\ndef f(): return ops.x\n",
        ["class R:", "ops = R()", "@ops('a')", "@ops.late", "def f(): return ops.x"],
    ),
    "a dispatching function": (
        "import functools\n@functools.singledispatch\ndef f(x): raise NotImplementedError\n"
        "@f.register\ndef _(x: int): return 1\n@functools.cache\ndef g(): return 1\n",
        ["import functools", "@functools.singledispatch", "@f.register"],
    ),
    "a helper that dispatches": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n"
        "@g.register(int)\ndef _(x): return 1\ndef f(x): return g(x)\n",
        [
            *("from functools import singledispatch", "@singledispatch", "@g.register(int)"),
            "def f(x): return g(x)",
        ],
    ),
    "methods added by a decorator": (
        """
        def add_to_class(C):
            def wrap(g): setattr(C, g.__name__, g)
            return wrap
        class f:
            x = 1
        @add_to_class(f)
        def forward(self): return self.x
        """,
        ["def add_to_class(C):", "class f:", "@add_to_class(f)"],
    ),
    "a table filled by a function": (
        """
        T = {}
        def build():
            for k in range(3): put(k)
        def put(k): T[k] = k
        build()
        plot()
        def f(): return T
        """,
        ["T = {}", "def build():", "def put(k): T[k] = k", "build()", "def f(): return T"],
    ),
    "a table filled by a function that returns something": (
        "T = []\ndef build(t): t.append(1); return t\n_ = build(T)\ndef f(): return T\n",
        ["T = []", "def build(t): t.append(1); return t", "_ = build(T)", "def f(): return T"],
    ),
    "a table filled in a comprehension": (
        "T = []\n[T.append(k) for k in range(3)]\nn = [t for t in T]\ndef f(): return T\n",
        ["T = []", "[T.append(k) for k in range(3)]", "def f(): return T"],
    ),
    "a table filled by subclasses": (
        """
        REG = {}
        class Base:
            def __init_subclass__(cls): REG[cls.__name__] = cls
        class A(Base): pass
        def f(): return REG["A"]
        """,
        ["REG = {}", "class Base:", "class A(Base): pass", 'def f(): return REG["A"]'],
    ),
    "what only shows or trains is not run": (
        """
        CACHE = {}
        def g(x): CACHE[x] = x
        def train():
            for i in range(10**9): g(i)
        def plot_all(t): t.show()
        train()
        plot_all(CACHE)
        def f(): return CACHE
        """,
        ["CACHE = {}", "def f(): return CACHE"],
    ),
    "settings of libraries": (
        """
        import sys, warnings
        import numpy as np
        from random import seed
        sys.setrecursionlimit(9000)
        np.random.seed(3)
        np.seterr(all="raise")
        np.set_printoptions(precision=3)
        warnings.filterwarnings("ignore")
        seed(3)
        np.show_config()
        mine.set_x(3)
        def f(): return 1
        np.random.seed(4)
        """,
        [
            *("import sys", "import warnings", "import numpy as np", "from random import seed"),
            *("sys.setrecursionlimit(9000)", "np.random.seed(3)", 'np.seterr(all="raise")'),
            *("np.set_printoptions(precision=3)", 'warnings.filterwarnings("ignore")'),
            *("seed(3)", "def f(): return 1"),
        ],
    ),
    "names in a text that is run": (
        "class D: x = 1\nclass E: x = 1\ndef f(): return eval('D().x')\n",
        ["class D: x = 1", "def f(): return eval('D().x')"],
    ),
    "a name that exec makes": (
        "text = 'k = 3'\nexec(text)\nprint(3)\ndef f(): return k\n",
        ["text = 'k = 3'", "exec(text)", "def f(): return k"],
    ),
    "a name that a function makes by exec": (
        "def make(name): globals()[name] = 3\nmake('k' + '')\ndef f(): return k\n",
        ["def make(name): globals()[name] = 3", "make('k' + '')", "def f(): return k"],
    ),
    "a later number under the same name": (
        "import numpy as np\ndef f(x): return x\ny = np.ones(3)\nf = np.mean(f(y) == y)\n"
        "f = np.mean(y)\n",
        ["def f(x): return x"],
    ),
    "a later result under the same name": (
        "def net(): return 1\ndef f(x): return x\nf = net()\nf = sum([net() for i in 'ab'])\n",
        ["def f(x): return x"],
    ),
    "what the answer does by itself is not done before": (
        "T = {}\ndef g(x): T[x] = x\ndef run():\n    while True: g(3)\nrun()\n"
        "def f(): return g(3)\n",
        ["T = {}", "def g(x): T[x] = x", "def f(): return g(3)"],
    ),
    "a later function of a library under the same name": (
        "from torch import nn\ndef f(x): return x\nf = nn.f\n",
        ["def f(x): return x"],
    ),
    "imports apart": (
        "import torch, numpy as np\nfrom math import (\n  pi,\n  tau,\n)\n"
        "def f(): return np.sin(pi)\n",
        ["import numpy as np", "from math import pi", "def f(): return np.sin(pi)"],
    ),
    "imports of submodules add up": (
        "import os.path\nimport os.abc\ndef f(): return os.path\n",
        ["import os.path", "import os.abc", "def f(): return os.path"],
    ),
    "imports within": ("def f():\n    import math\n    return math.pi\n", ["def f():"]),
    "imported answers": ("from helpers import f\n", ["from helpers import f"]),
    "not those of the course": ("from coursepkg.x import f\n", []),
    "nor in the place of one's own": (
        "def f(): return 1\nfrom coursepkg.x import f\n",
        ["def f(): return 1"],
    ),
    "deleted later": ("def g(): return 1\ndef f(): return g()\ndel g\n", None),
    "a result under the same name": (
        "def f(x): return x\nf = f(3)\n",
        ["def f(x): return x"],
    ),
    "a place kept free": ("def f(x): return x\nf = None\n", ["def f(x): return x"]),
    "an annotation alone": ("def f(x): return x\nf: object\n", ["def f(x): return x"]),
    "a loop over functions": (
        "def f(x): return x\ndef g(x): return x\nfor f in (f, g):\n    print(f(1))\n",
        ["def f(x): return x"],
    ),
    "made by exec: everything is run": (
        'k = 3\ntext = "def f(): return 1"\nexec(text)\n',
        ["k = 3", 'text = "def f(): return 1"', "exec(text)"],
    ),
    "made through globals": (
        'globals()["f"] = lambda: 1\n',
        ['globals()["f"] = lambda: 1'],
    ),
    "a mention is no definition": ('k = 3\ncheck("x/f", f)\n', []),
    "future": (
        "from __future__ import annotations\ndef f(x: Unknown): return x\n",
        ["def f(x: Unknown): return x"],
    ),
    "semicolons": ("k = 2; j = 3; f = lambda: k\n", ["k = 2", "f = lambda: k"]),
    "other letters": ("π = 3\ndef f(): return π\n", ["π = 3", "def f(): return π"]),
    "names that are equal to Python": (
        "ﬁ = 3\ndef f(): return fi\n",
        ["ﬁ = 3", "def f(): return fi"],
    ),
    "match": (
        "k = 1\nmatch k:\n    case 1:\n        def f(): return k\n",
        ["k = 1", "match k:"],
    ),
    "a loop that needs what it plots with": (
        "import plot\nT = []\nfor i in range(3):\n    T.append(i)\n    plot.show(i)\n"
        "def f(): return T\n",
        ["import plot", "T = []", "for i in range(3):", "def f(): return T"],
    ),
}


@pytest.mark.parametrize(("source", "wanted"), SLICES.values(), ids=SLICES)
def test_just_what_is_needed_is_run(source, wanted):
    if wanted is None:  # all but the last line, if that is a deletion
        wanted = [line for line in source.splitlines() if not line.startswith("del ")]
    assert chosen(source) == wanted


def test_what_only_changes_a_value_is_not_needed():
    page = read_page("hw.py", b"import plot\nT = []\nplot.fill_(T)\ndef f(): return T\n")
    (part,) = page.slices("f")
    assert [part.statements[i].line for i in sorted(part.needed)] == [2, 4]


CLUMSY = {
    "magics of a line": "%matplotlib inline\n!pip install numpy\nK\n?K\nK??\n%cd ..\n{}",
    "magics of a cell": "%%time\n{}",
    "two of them": "%%capture out\n%%time\n{}",
    "a blank line before": "\n\n%%timeit -n 1\n{}",
    "a magic after": "{}\n%timeit f(3)\n",
    "a magic within": "if True:\n    !ls\n    %time x = 1\n{}",
    "a command over two lines": "!pip install \\\n   numpy\n{}",
    "a command with a quote": "!echo it's\n{}",
    "shell output": "files = !ls *.py\npath = %pwd\n{}",
    "text that looks like magics": 's = """\n%matplotlib\n!ls\n"""\n%cd ..\n{}',
    "brackets that look like magics": "s = ('%d'\n% 3)\n%cd ..\n{}",
    "automagic": "pip install numpy\nls\n{}",
    "a syntax error above": "def broken(:\n    pass\n{}",
    "an open bracket above": "x = (1, 2\n{}",
    "an open text above": "x = '''open\n{}",
    "a syntax error below": "{}\nfor i in\n    print(i)\n",
    "Python 2": "print 'hello'\n{}",
    "smart quotes above": "print(“hello”)\n{}",
    "mixed tabs above": "if 1:\n\tx = 1\n        y = 2\n{}",
    "merge marks": "<<<<<<< HEAD\n{}\n=======\n>>>>>>> other\n",
    "a return on the top level": "return 3\n{}",
    "a break": "break\n{}",
    "an await": "await g()\n{}",
    "a cell that is indented": "    %cd ..\n    x = 1\n{}",
    "a form feed": "\f\n{}",
    "else of a broken if": "if x\n    y = 1\nelse:\n    y = 2\n{}",
}
GOOD = 'def f(x):\n    s = """\n%d\n"""\n    return x % 3\n'


@pytest.mark.parametrize("cell", CLUMSY.values(), ids=CLUMSY)
def test_what_is_no_python_costs_no_more_than_itself(cell):
    indent = "    " if cell.startswith("    ") else ""
    source = cell.format(
        textwrap.indent(GOOD.replace('"""\n%d\n"""', '"""%d"""'), indent) if indent else GOOD
    )
    assert chosen(notebook(source), file="hw.ipynb") == ["def f(x):"]


@pytest.mark.parametrize("magic", ["bash", "html", "javascript", "R", "writefile f.py", "sh -e"])
def test_cells_of_other_languages_are_dropped(magic):
    assert chosen(notebook(f"%%{magic}\ndef f(): return 1"), file="hw.ipynb") == []


def test_magics_that_time_keep_what_they_time():
    data = notebook("%time T = [1]\nx = %time 3\ndef f(): return T, x")
    assert chosen(data, file="hw.ipynb") == ["T = [1]", "x = 3", "def f(): return T, x"]


TEXT = "# é ü\nk = 'é'\ndef f():\n    return k\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("latin-1"),
        b"# -*- coding: cp1252 -*-\n" + TEXT.encode("cp1252"),
        b"#!/usr/bin/python\n# coding=iso-8859-15\n" + TEXT.encode("iso-8859-15"),
        b"# coding: no-such-thing\n" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace("k", "k\0").encode(),
    ],
    ids=str,
)
def test_every_encoding_and_end_of_line(data):
    assert chosen(data) == ["k = 'é'", "def f():"]


def test_all_kinds_of_cells():
    def cell(source, **more):
        return {"cell_type": "code", "source": source, **more}

    data = notebook(
        {"cell_type": "markdown", "source": "def f(): return 'markdown'"},
        {"cell_type": "raw", "source": "def f(): return 'raw'"},
        cell(["A = 1\n", "B = 2"]),
        cell("   \n"),
        cell(None),
        cell(7),
        cell(["def f", 3, None, "(): return A\r\n"]),
        "a cell that is no cell" and {"no": "type"},
        cell("def f(): return 'C'", metadata={"vscode": {"languageId": "csharp"}}),
        cell("def f(): return 'x'", metadata={"tags": 3}) | {"cell_type": 3},
    )
    page = read_page("hw.ipynb", data)
    assert [c.file for c in page.cells] == ["hw.ipynb, cell 1", "hw.ipynb, cell 2"]
    (part,) = page.slices("f")
    assert part.place == "hw.ipynb, cell 2, line 1"
    assert part.source == "A = 1\ndef f(): return A"


def test_notebooks_of_version_3():
    cells = [
        {"cell_type": "code", "language": "python", "input": ["def f():\n", "    return 1"]},
        {"cell_type": "code", "language": "ruby", "input": "def f(): return 2"},
    ]
    data = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}, None]}).encode()
    assert chosen(data, file="hw.ipynb") == ["def f():"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "hw.ipynb is empty"),
        (b" \n", "hw.ipynb is empty"),
        (b"[1]", "hw.ipynb is JSON, but no notebook"),
        (b"3", "hw.ipynb is JSON, but no notebook"),
        (b"{}", "hw.ipynb has no cells of code"),
        (b'{"cells": 3, "worksheets": 4}', "hw.ipynb has no cells of code"),
        (b"[" * 100_000, "hw.ipynb is nested too deeply to be a notebook"),
        (b"\x89PNG\r\n", "hw.ipynb is damaged: Expecting value in line 1, column 1; 0 cells"),
        (
            notebook("f = 1", metadata={"language_info": {"name": "R"}}),
            "hw.ipynb is a notebook in the language r",
        ),
    ],
    ids=str,
)
def test_files_that_are_no_notebooks(data, problem):
    page = read_page("hw.ipynb", data)
    assert page.problem.startswith(problem)
    assert page.statements == ()


@pytest.mark.parametrize(
    ("data", "problem", "told"),
    [
        (b"\n", "", "hw.py holds no code"),
        (
            b"Dear grader,\n",
            "hw.py is no Python: SyntaxError: invalid syntax (hw.py, line 1)",
            None,
        ),
        (b"f = 1\nDear grader,\n", "", ""),
    ],
)
def test_a_script_has_a_problem_if_nothing_in_it_is_python(data, problem, told):
    page = read_page("hw.py", data)
    assert (page.problem, page.told) == (problem, problem if told is None else told)


def test_what_is_left_of_a_notebook_that_breaks_off():
    whole = notebook("A = 1", "def f(): return A", "def f(): return 'lost'")
    page = read_page("hw.ipynb", whole[: whole.index(b"lost")])
    assert chosen(whole[: whole.index(b"lost")], file="hw.ipynb") == ["A = 1", "def f(): return A"]
    assert page.problem.startswith("hw.ipynb is damaged: Unterminated string starting at in line 1")
    assert page.problem.endswith("2 cells could be read")


def test_what_is_left_of_a_notebook_with_merge_marks():
    whole = notebook("A = 1", "B = 2", "def f(): return A")
    data = whole.replace(b'"source": "B', b'"source":\n<<<<<<< HEAD\n"B')
    assert chosen(data, file="hw.ipynb") == ["A = 1", "def f(): return A"]


def test_large_outputs_cost_little():
    output = {"output_type": "stream", "text": "x" * 100_000_000}
    data = notebook({"cell_type": "code", "source": "def f(): return 1", "outputs": [output]})
    start = time.process_time()
    assert chosen(data, file="hw.ipynb") == ["def f(): return 1"]
    assert time.process_time() - start < 5


PAGE = """\
---
jupytext: {text_representation: {format_name: myst}}
---
# Title

```{code-cell}
:tags: [hide-input]
A = 1
```

~~~~{code-cell} ipython3
---
tags: [x]
other: 3
---

def f():
    return A
~~~~

````{note}
```{code-cell} python
A = 2
```
````

```{code-cell} r
f <- 3
```

```python
def f(): return "an example"
```

:::{code-cell} python
B = 2
:::
"""


def test_pages_of_myst():
    cells, problem = read_cells("hw.md", PAGE.encode().decode().encode())
    assert not problem
    assert [cell.source.strip() for cell in cells] == ["A = 1", "def f():\n    return A", "B = 2"]
    (part,) = read_page("hw.md", PAGE.encode()).slices("f")
    assert part.place == "hw.md, line 17"
    assert part.statements[0].line == 8
    texts = read_page("hw.md", PAGE.encode()).texts
    assert texts["hw.md"].split("\n")[17] == "    return A"


def test_other_markdown():
    text = "# Title\n```python\ndef f(): return 1\n```\n```sh\nls\n```\n"
    assert chosen(text.encode(), file="hw.md") == ["def f(): return 1"]
    prose = read_page("hw.md", b"# Title\n")
    assert (prose.problem, prose.told) == ("", "hw.md holds no code")
    assert chosen(b"```{code-cell}\ndef f(): return 1", file="hw.MD") == ["def f(): return 1"]


def test_scripts_with_cells():
    head = "# %% [markdown]\n# # Title\n# %%\n# !pip install x\n# %matplotlib inline\n"
    text = head + "k = 1\n# %%\ndef f(): return k\n"
    assert chosen(text) == ["k = 1", "def f(): return k"]
    assert next(read_page("hw.py", text.encode()).slices("f")).place == "hw.py, line 8"


def test_exported_scripts():
    text = "get_ipython().run_line_magic('matplotlib', 'inline')\n# In[3]:\ndef f(): return 1\n"
    assert chosen(text) == ["def f(): return 1"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("k = 1\n", None),
        (
            "def f():\n    raise NotImplementedError\n",
            ("unwritten", "f is not written yet (hw.py, line 1)"),
        ),
        (
            "k = 1\ndef f(x):\n    print(“x”)\n",
            (
                "failed",
                "the definition of f cannot be read: SyntaxError: invalid character '“' "
                "(U+201C) (hw.py, line 3)",
            ),
        ),
        (
            "from coursepkg.a import f\n",
            (
                "missing",
                "f is here, but it is no answer of your own: from coursepkg.a import f "
                "(hw.py, line 1)",
            ),
        ),
    ],
)
def test_what_there_is_in_the_place_of_an_answer(source, wanted):
    page = read_page("hw.py", source.encode())
    assert not [*page.slices("f")]
    assert page.lacking("f") == wanted


def test_names_of_files_that_would_confuse():
    assert next(read_page('/a"b\n<x>.py', b"f = len").slices("f")).place == "a_b__x_.py, line 1"


def test_a_tower_of_brackets_is_no_crash():
    page = read_page("hw.py", b"x = " + b"(" * 5000 + b"\ndef f(): return 1\n")
    assert [*page.slices("f")]
    assert read_page("hw.py", b"x = " + b"-" * 200_000 + b"1\ndef f(): return 1\n").broken


def test_noise_is_read_in_reasonable_time():
    start = time.process_time()
    assert read_page("hw.py", bytes(range(256)) * 400 + b"\ndef f(): return 1\n").broken
    assert time.process_time() - start < 5


def test_of_a_million_cells_some_are_read():
    page = read_page("hw.ipynb", notebook(*["k = 1"] * 6000))
    assert len(page.cells) == 5000
    assert page.problem == "hw.ipynb has 6000 cells of code; the first 5000 were read"


def test_a_long_broken_file_is_read_in_reasonable_time():
    data = b"x = (\n" + b"y = 1\n" * 3000 + b"def f(): return 1\n"
    start = time.process_time()
    assert chosen(data) == ["def f(): return 1"]
    assert time.process_time() - start < 5


def test_many_changes_of_one_value_are_found_in_reasonable_time():
    page = read_page("hw.py", b"T = []\n" + b"T.append(1)\n" * 3000 + b"def f(): return T\n")
    start = time.process_time()
    assert len(next(page.slices("f")).statements) == 3002
    assert time.process_time() - start < 1


def test_reading_ends_when_its_time_is_over(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(cells, "process_time", lambda: next(ticks))
    many = {
        "hw.py": b"x = 1\n" * 30,
        "broken.py": b"x = (\n" * 30,
        "hw.ipynb": notebook(*["k = 1"] * 30),
        "lost.ipynb": b'{"cells": [' + b'{"id":' * 30,
        "hw.md": b":::x\n" * 30,
    }
    for name, data in many.items():
        with pytest.raises(TimeoutError, match="it takes too long"):
            read_page(name, data, next(ticks) + 20)
        read_page(name, data, next(ticks) + 2000)


def test_no_more_than_so_many_blocks_of_a_page_are_read():
    page = read_page("hw.md", b"```python\nx = 1\n```\n" * 5001)
    assert len(page.statements) == 5000
    assert page.problem == "hw.md has 5001 cells of code; the first 5000 were read"
