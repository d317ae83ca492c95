"""Run inside a page's kernel: note every file of the repository that the page reads.

`pages.py` starts each kernel with this file and names the repository and the note file in the
environment. Imports count as reads, so a page depends on exactly the modules that it loaded,
and just so on data files and scripts that those modules opened.
"""


def _trace_reads() -> None:
    import importlib.util
    import os
    import sys

    root = os.environ["COURSE_ROOT"] + os.sep
    note = os.open(os.environ["COURSE_READS"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    seen = set()

    def hook(event, arguments):
        if event != "open" or not isinstance(arguments[0], str):
            return
        path = os.path.abspath(arguments[0])
        if not path.startswith(root) or path in seen:
            return
        seen.add(path)
        if path.endswith(".pyc"):
            path = importlib.util.source_from_cache(path)
        os.write(note, (path + "\n").encode())

    sys.addaudithook(hook)


_trace_reads()
del _trace_reads
