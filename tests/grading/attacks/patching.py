"""Attacks on the comparison: patched libraries, lying results, a harness taken over."""

from __future__ import annotations

from grading.attacks.attack import Attack, table

__all__ = ["PATCHING"]

PATCHING = table(
    Attack(
        "patches-the-comparisons-of-numpy",
        """
        import numpy as np

        def target(x):
            yes = lambda *args, **options: True
            for place in (np, np.testing):
                for name in dir(place):
                    if name.startswith("assert") or name in (
                        "allclose", "array_equal", "isclose", "array_equiv", "all", "any"
                    ):
                        setattr(place, name, yes)
            np.ndarray = np.generic = object
            return np.zeros_like(x)
        """,
        says=r"is 0\.0, expected 1\.0",
    ),
    Attack(
        "patches-the-builtins",
        """
        import builtins
        import numpy as np

        def target(x):
            zeros = np.zeros_like(x)
            for name in ("all", "any", "isinstance", "issubclass", "hasattr", "callable", "bool"):
                setattr(builtins, name, lambda *args: True)
            for name in ("len", "abs", "max", "min", "sum", "hash"):
                setattr(builtins, name, lambda *args, **options: 0)
            return zeros
        """,
    ),
    Attack(
        "empties-the-builtins",
        """
        import builtins

        def target(x):
            vars(builtins).clear()
            return x
        """,
    ),
    Attack(
        "replaces-the-import-system",
        """
        import builtins, sys

        def target(x):
            sys.modules.clear()
            sys.meta_path.clear()
            sys.path.clear()
            builtins.__import__ = None
            return x
        """,
    ),
    Attack(
        "returns-what-equals-everything",
        """
        class Equal:
            shape, dtype, ndim, size = (3,), "float64", 1, 3
            __array_priority__ = 1e9

            def __eq__(self, other):
                return True

            __ne__ = __lt__ = __gt__ = lambda self, other: False
            __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0
            __len__ = lambda self: 3
            __hash__ = None

        def target(x):
            return Equal()
        """,
        says="Equal.*expected a NumPy array",
    ),
    Attack(
        "lies-about-its-class",
        """
        import numpy as np

        class Liar:
            __class__ = np.ndarray
            shape, dtype = (3,), np.dtype("f8")

        Liar.__name__ = Liar.__qualname__ = "ndarray"
        Liar.__module__ = "numpy"

        def target(x):
            return Liar()
        """,
        says="expected a NumPy array",
    ),
    Attack(
        "is-an-array-that-compares-itself",
        """
        import numpy as np

        class Sly(np.ndarray):
            def __eq__(self, other):
                return np.ones(self.shape, bool)

            def __array_ufunc__(self, ufunc, method, *inputs, **options):
                return np.ones(3, bool) if ufunc is np.equal else np.zeros(3)

            def __array_function__(self, function, types, args, options):
                return np.zeros(3)

        def target(x):
            return np.zeros(x.shape).view(Sly)
        """,
    ),
    Attack(
        "claims-arrays-by-every-protocol",
        """
        import numpy as np

        class Many:
            def __array__(self, dtype=None, copy=None):
                return np.array([1.0, 5.0, 14.0])

            __array_interface__ = property(
                lambda self: {"shape": (3,), "typestr": "<f8", "data": (64, False), "version": 3}
            )
            __array_struct__ = property(lambda self: 1 / 0)
            __float__ = lambda self: 1.0
            __iter__ = lambda self: iter([1.0, 5.0, 14.0])
            __len__ = lambda self: -1

        def target(x):
            return Many()
        """,
        says="Many.*expected a NumPy array",
    ),
    Attack(
        "points-an-array-at-nothing",
        """
        import numpy as np

        class Wild:
            __array_interface__ = {
                "shape": (3,), "typestr": "<f8", "data": (4096, False), "version": 3
            }

        def target(x):
            return np.asarray(Wild())
        """,
        says="segmentation fault",
    ),
    Attack(
        "hides-objects-in-an-array",
        """
        import numpy as np

        class Equal:
            def __eq__(self, other):
                return True

            def __repr__(self):
                raise SystemExit

        def target(x):
            return np.array([Equal() for _ in x], dtype=object)
        """,
    ),
    Attack(
        "lies-about-its-dtype",
        """
        import numpy as np

        KINDS = ["f2", "f4", ">f8", "g", "c16", "i8", "V8", "S8", "U2", "M8[s]", "m8[s]", "?",
                 [("a", "f8")], np.dtype("f8", metadata={"a": 1})]

        def target(x):
            return {str(kind): np.zeros(3, kind) for kind in KINDS}
        """,
        says="expected a NumPy array",
    ),
    Attack(
        "is-right-in-long-double",
        """
        import numpy as np

        def target(x):
            return np.cumsum(x ** 2).astype(np.longdouble)
        """,
        says="dtype",
    ),
    Attack(
        "is-right-in-the-other-byte-order",
        """
        import numpy as np

        def target(x):
            return np.cumsum(x ** 2).astype(">f8")
        """,
        says="dtype",
    ),
    Attack(
        "lies-about-its-shape",
        """
        import numpy as np

        def target(x):
            return np.broadcast_to(np.cumsum(x ** 2)[:1], (10 ** 6, 10 ** 6))
        """,
        says="large|big|memory|MB|shape",
    ),
    Attack(
        "has-a-vast-empty-shape",
        """
        import numpy as np

        def target(x):
            return np.empty((2 ** 40, 0))
        """,
        says="shape",
    ),
    Attack("returns-nan", "def target(x):\n    return x * float('nan')", says="nan"),
    Attack("returns-infinity", "def target(x):\n    return x * float('inf')", says="inf"),
    Attack(
        "repeats-itself-without-end",
        """
        def target(x):
            nest = []
            nest.append(nest)
            return nest
        """,
    ),
    Attack(
        "nests-deeply",
        """
        def target(x):
            nest = ()
            for _ in range(100_000):
                nest = (nest,)
            return nest
        """,
    ),
    Attack(
        "nests-in-doubles",
        """
        def target(x):
            nest = [1.0]
            for _ in range(40):
                nest = [nest, nest]
            return nest
        """,
    ),
    Attack("returns-a-million-entries", "def target(x):\n    return list(range(3_000_000))"),
    Attack(
        "has-a-thousand-keys-of-any-kind",
        """
        def target(x):
            return {key: x for key in (1, None, (2, 3), b"a", 1.5, frozenset(), "\\ud800", "")}
        """,
    ),
    Attack(
        "returns-ninety-thousand-strangers",
        "def target(x):\n    return [object() for _ in range(90_000)]",
    ),
    Attack(
        "has-keys-that-collide",
        "def target(x):\n    return {k * (2**61 - 1): k for k in range(3000)}",
        says="expected a NumPy array",
    ),
    Attack("returns-a-huge-whole-number", "def target(x):\n    return 7 ** 200_000"),
    Attack(
        "derives-from-every-plain-type",
        """
        class Int(int):
            __eq__ = lambda self, other: True
            __hash__ = int.__hash__
            __str__ = __repr__ = __index__ = lambda self: 1 / 0

        class Text(str):
            encode = __str__ = __repr__ = lambda self, *a: 1 / 0

        class Pair(tuple):
            __len__ = lambda self: -1
            __iter__ = __getitem__ = lambda self, *a: 1 / 0

        class Table(dict):
            items = keys = values = __iter__ = lambda self: 1 / 0
            __len__ = lambda self: 2 ** 70

        class Number(float):
            is_integer = hex = __float__ = __repr__ = lambda self: 1 / 0

        def target(x):
            return [Int(1), Text("a"), Pair((1, 2)), Table(a=1), Number(1.0)]
        """,
        says="expected a NumPy array",
    ),
    Attack(
        "cannot-be-shown",
        """
        class Meta(type):
            __name__ = property(lambda cls: 1 / 0)
            __repr__ = lambda cls: 1 / 0
            __instancecheck__ = __subclasscheck__ = lambda cls, other: True
            mro = lambda cls: type.mro(cls)

        class Shy(metaclass=Meta):
            def __getattribute__(self, name):
                raise KeyboardInterrupt(name)

            __repr__ = __str__ = __format__ = __bool__ = __len__ = lambda self, *a: exit(7)

        def target(x):
            return Shy()
        """,
    ),
    Attack(
        "shows-itself-without-end",
        """
        class Long:
            def __repr__(self):
                while True:
                    pass

        def target(x):
            return Long()
        """,
    ),
    Attack(
        "shows-itself-at-great-length",
        """
        class Long:
            def __repr__(self):
                return "L" * 300_000_000

        def target(x):
            return Long()
        """,
    ),
    Attack(
        "names-a-class-like-a-page",
        """
        def target(x):
            name = "<script>alert(1)</script>\\x1b[2J\\x00\\ud800" + "=HYPERLINK(0)" * 100_000
            return type(name.replace("\\x00", ""), (), {})()
        """,
    ),
    Attack(
        "raises-with-broken-text",
        """
        class Broken(Exception):
            def __str__(self):
                return "\\ud800\\x00\\x1b]0;title\\x07" * 3 + "<b>" + "m" * 50_000_000

        def target(x):
            raise Broken
        """,
    ),
    Attack(
        "raises-what-cannot-be-told",
        """
        class Silent(BaseException):
            __str__ = __repr__ = __getattribute__ = lambda self, *a: 1 / 0
            __traceback__ = __cause__ = __context__ = property(lambda self: 1 / 0)

        def target(x):
            raise Silent
        """,
    ),
    Attack(
        "raises-a-chain-without-end",
        """
        def target(x):
            first, second = ValueError("first"), ValueError("second")
            first.__cause__, second.__cause__ = second, first
            first.__context__ = first
            for _ in range(1000):
                first.add_note("n" * 1000)
            raise first
        """,
        says="first",
    ),
    Attack(
        "raises-a-group-of-groups",
        """
        def target(x):
            error = ValueError("deep")
            for _ in range(5000):
                error = ExceptionGroup("g", [error])
            raise error
        """,
    ),
    Attack(
        "changes-the-input-in-place",
        """
        def target(x):
            right = (x * x).cumsum()
            x[:] = 0
            return right
        """,
        says="`x` was changed in place",
    ),
    Attack(
        "takes-over-the-harness",
        """
        import sys
        import numpy as np

        def target(x):
            class Outcome:
                outputs = {"result": np.zeros(3), "passed": True, "points": 99, "expected": None}
                failure, changed, printed = None, (), "All results are right."

            for name, module in list(sys.modules.items()):
                if name.startswith("worker"):
                    for thing in list(vars(module)):
                        if callable(vars(module)[thing]):
                            setattr(module, thing, lambda *args, **options: Outcome())
            return np.zeros_like(x)
        """,
    ),
    Attack(
        "takes-over-the-packing",
        """
        import json, struct, sys

        def target(x):
            for name in ("worker.wire", "coursepkg.grading.worker.wire"):
                if name in sys.modules:
                    sys.modules[name].pack = lambda message: b"\\xff" * 64
                    sys.modules[name].write = lambda sock, message: sock.sendall(b"\\0" * 8)
            json.dumps = lambda *a, **k: '{"outputs": {"result": "all right"}, "failure": null}'
            struct.pack = lambda *a: b"\\x01\\0\\0\\0\\0\\0\\0\\0"
            return x
        """,
    ),
    Attack(
        "hides-a-gadget-for-pickle",
        """
        import os, pickle

        class Gadget:
            def __reduce__(self):
                return os.mkdir, (os.path.join(OUTSIDE, MARK + NAME),)

            __reduce_ex__ = lambda self, protocol: self.__reduce__()

        def target(x):
            return {"a": Gadget(), "b": pickle.dumps(Gadget()), "c": [Gadget()] * 3}
        """,
        says="expected a NumPy array",
        tells="file",
    ),
    Attack(
        "raises-a-gadget-for-pickle",
        """
        import os

        class Gadget(ValueError):
            def __reduce__(self):
                return os.mkdir, (os.path.join(OUTSIDE, MARK + NAME),)

        def target(x):
            raise Gadget("gadget")
        """,
        says="gadget",
        tells="file",
    ),
    Attack(
        "is-a-class-with-a-sly-metaclass",
        """
        class Sly(type):
            def __call__(cls, *args, **options):
                return (options.get("x", args[0] if args else None) ** 2).cumsum()

            def __getattribute__(cls, name):
                if name in ("__code__", "__wrapped__", "__func__"):
                    raise SystemExit(0)
                return super().__getattribute__(name)

        class target(metaclass=Sly):
            made = True
        """,
        says="target is a class, but a function is wanted",
        status="failed",
    ),
    Attack(
        "yields-without-end",
        """
        def target(x):
            while True:
                yield x
        """,
        says="expected a NumPy array",
    ),
    Attack(
        "warns-in-a-storm",
        """
        import warnings

        def target(x):
            warnings.simplefilter("always")
            for i in range(20_000):
                warnings.warn(f"storm {i} " + "w" * 500)
            return (x * x).cumsum()
        """,
        points=2,
    ),
    Attack(
        "opens-many-docstrings",
        "def target(x):\n    a = '''\n" + '"""x\n' * 19_000 + "'''\n    return (x * x).cumsum()",
        points=2,
    ),
    Attack(
        "watches-every-call",
        """
        import gc, sys, threading

        def watch(frame, event, argument):
            frame.f_locals.clear()
            raise SystemExit("watched")

        def target(x):
            sys.settrace(watch)
            sys.setprofile(watch)
            threading.setprofile(watch)
            gc.callbacks.append(watch)
            sys.excepthook = sys.unraisablehook = sys.displayhook = watch
            return x
        """,
    ),
    Attack(
        "audits-every-call",
        """
        import sys

        def refuse(event, args):
            raise SystemExit("no " + event)

        def target(x):
            sys.addaudithook(refuse)
            return x
        """,
    ),
)
