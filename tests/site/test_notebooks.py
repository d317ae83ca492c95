"""Notebooks made from pages: plain Markdown, exercises without solutions, bytes that repeat."""

import ast
import base64
import copy
import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import plain_markdown as module
import pytest
from myst_book import Book, exercise_label
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient
from nbformat.v4 import new_output
from notebooks import executed_notebook, student_notebook
from plain_markdown import DIRECTIVES, ROLES, Context, MarkdownError, plain_markdown

from coursepkg.grading import exercise_ids, load

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CONFIG = """
title: A Small Book
parse: {myst_enable_extensions: [amsmath, attrs_block, attrs_inline, colon_fence, deflist,
  dollarmath, substitution, tasklist]}
bibtex_bibfiles: [refs.bib]
"""
TOC = """
root: book/index
parts: [{chapters: [{file: book/a/page}, {file: book/a/other}, {file: book/words}]}]
"""
BIB = r"""
@article{lecun1998, author = {Yann LeCun and L\'eon Bottou and Yoshua Bengio}, title = {Learning},
  journal = {Proc}, year = 1998}
@book{two2001, author = {Ada Ek and Bo L\"of}, title = {Pairs}, publisher = {P}, year = 2001}
"""
FRONT = """---
kernelspec: {display_name: Python 3, language: python, name: python3}
covers: [C01]
---

"""
PAGE = (
    FRONT
    + """(top)=
# A page

First {numref}`fig-b`, {eq}`eq-b`, {cite:t}`lecun1998` and {glue:text}`score:.1%`.

$$
a
$$ (eq-a)

$$
b
$$ (eq-b)

```{code-cell} python
:tags: [hide-input, row-C01]
from myst_nb import glue
glue("score", 0.987, display=False)
```

```{code-cell} python
---
mystnb:
  figure: {name: fig-a, caption: A *first* figure.}
---
1
```

```{code-cell} python
---
mystnb:
  figure: {name: fig-b, caption: "See {eq}`eq-a`."}
---
2
```

Before.

```{graded-exercise} convolution/output-size
```

After, in {ref}`ex-convolution-output-size`.
"""
)
OTHER = (
    FRONT
    + """(other-top)=
# Another page

```{code-cell} python
---
mystnb:
  figure: {name: fig-other, caption: Elsewhere.}
---
1
```
"""
)


@pytest.fixture
def book(tmp_path):
    """Return a book of four pages, written to a folder."""
    files = {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "refs.bib": BIB,
        "book/index.md": "# Start\n",
        "book/a/page.md": PAGE,
        "book/a/other.md": OTHER,
        "book/words.md": "# Words\n\n```{glossary}\nkernel\n  A small array.\n```\n",
        "book/a/code.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "book/a/dot.png").write_bytes(PNG)
    return Book.read(tmp_path)


@pytest.fixture
def context(book):
    """Return the context of a page on which one value is glued."""
    score = new_output("display_data", {"text/plain": "0.987"})
    return Context(book, "book/a/page", line=10, glued={"score": score})


@dataclass
class Named:
    """A page, known by its name."""

    name: str


def read(book, name="book/a/page"):
    """Return a page as the site reads it."""
    return read_myst_markdown_notebook(book.sources[name], add_source_map=True)


def run(book, name="book/a/page"):
    """Return a page with outputs, as they come from the cache."""
    return copy.deepcopy(_run(book.sources[name]))


@functools.cache
def _run(source):
    nb = read_myst_markdown_notebook(source, add_source_map=True)
    NotebookClient(nb, timeout=60, kernel_name="python3").execute()
    return nb


# --- one piece of Markdown ----------------------------------------------------------------------

ROLE_TABLE = [
    ("{term}`kernel`", "*kernel*"),
    ("{term}`small arrays <kernel>`", "*small arrays*"),
    ("{numref}`fig-b`", "Figure 2"),
    ("{numref}`Fig. %s <fig-b>`", "Fig. 2"),
    ("{numref}`fig-other`", "Figure 1 of *Another page*"),
    ("{eq}`eq-b`", "(2)"),
    ("{ref}`other-top`", "Another page"),
    ("{ref}`there <other-top>`", "there"),
    ("{ref}`ex-convolution-output-size`", "Exercise 1"),
    ("{doc}`other`", "Another page"),
    ("{doc}`/book/words`", "Words"),
    ("{doc}`that one <other>`", "that one"),
    ("{any}`other`", "Another page"),
    ("{any}`fig-a`", "Figure 1"),
    ("{button-ref}`../words`", "Words"),
    ("{cite}`lecun1998`", "(LeCun et al., 1998)"),
    ("{cite:p}`lecun1998,two2001`", "(LeCun et al., 1998; Ek and Löf, 2001)"),
    ("{cite:p}`two2001{sec. 3}`", "(Ek and Löf, 2001, sec. 3)"),
    ("{cite:p}`{see }two2001`", "(see  Ek and Löf, 2001)"),
    ("{cite:t}`two2001`", "Ek and Löf (2001)"),
    ("{cite:t}`two2001{sec. 3}`", "Ek and Löf (2001, sec. 3)"),
    ("{cite:author}`two2001`", "Ek and Löf"),
    ("{cite:year}`two2001`", "2001"),
    ("{glue}`score`", "0.987"),
    ("{glue:text}`score`", "0.987"),
    ("{glue:text}`score:.1%`", "98.7%"),
    ("{math}`a_b`", "$a_b$"),
    ("{kbd}`Shift`", "<kbd>Shift</kbd>"),
    ("H{sub}`2`O", "H<sub>2</sub>O"),
    ("x{sup}`<2>`", "x<sup>&lt;2&gt;</sup>"),
    ("{abbr}`CNN (convolutional network)`", "CNN"),
    ("{download}`data <x.csv>`", "`data`"),
    ("{guilabel}`Run`", "**Run**"),
    ("{file}`a.py`", "`a.py`"),
    ("{func}`coursepkg.check`", "`coursepkg.check`"),
    ("{py:func}`~coursepkg.check`", "`check`"),
]


@pytest.mark.parametrize(("myst", "plain"), ROLE_TABLE)
def test_role(context, myst, plain):
    assert plain_markdown(f"Text {myst} text.", context) == f"Text {plain} text."


DIRECTIVE_TABLE = [
    ("```{note}\nBody.\n```", '<div class="alert alert-info">\n\n**Note**\n\nBody.\n\n</div>'),
    (":::{tip}\nBody.\n:::", '<div class="alert alert-success">\n\n**Tip**\n\nBody.\n\n</div>'),
    (
        "```{warning} On its line.\n```",
        '<div class="alert alert-warning">\n\n**Warning**\n\nOn its line.\n\n</div>',
    ),
    (
        "```{admonition} A *title*\n:class: danger\nBody.\n```",
        '<div class="alert alert-danger">\n\n**A *title***\n\nBody.\n\n</div>',
    ),
    (
        "```{admonition} Why?\n:class: dropdown\nBody.\n```",
        "<details>\n<summary>Why?</summary>\n\nBody.\n\n</details>",
    ),
    (
        ":::{dropdown} Is $a<b$ in `x`?\n\nYes.\n:::",
        "<details>\n<summary>Is $a&lt;b$ in <code>x</code>?</summary>\n\nYes.\n\n</details>",
    ),
    ("```{seealso}\n{doc}`other`\n```", "**See also**\n\nAnother page"),
    ("````{div} big\n```{tip}\n{term}`kernel`\n```\n````", "**Tip**\n\n*kernel*"),
    ("```{math}\n:label: eq-b\nx\n```", "$$\nx\n\\tag{2}\n$$"),
    ("```{math}\nx \\\\\ny\n```", "$$\n\\begin{aligned}\nx \\\\\ny\n\\end{aligned}\n$$"),
    ("$$\nb\n$$ (eq-b)", "$$\nb\n\\tag{2}\n$$"),
    (
        "```{figure} dot.png\n:name: fig-b\n:alt: A dot\nOne *dot*.\n```",
        f"![A dot](data:image/png;base64,{base64.b64encode(PNG).decode()})\n\n"
        "**Figure 2.** One *dot*.",
    ),
    ("```{image} dot.png\n:alt: A dot\n```", "![A dot](data:image/png;base64,"),
    ("![A dot](dot.png){width=50%}", f"base64,{base64.b64encode(PNG).decode()})"),
    (
        "```{literalinclude} code.py\n:pyobject: two\n:caption: See {eq}`eq-b`.\n```",
        "See (2).\n\n```python\ndef two():\n    return 2\n```",
    ),
    (
        '```{literalinclude} code.py\n:pyobject: two\n:start-at: "return"\n:dedent: 4\n```',
        "```python\nreturn 2\n```",
    ),
    ("````{code-block} text\n```x```\n````", "````text\n```x```\n````"),
    (
        "```{list-table} Sizes\n:header-rows: 1\n\n* - a\n  - {term}`kernel`\n* - 1\n  -\n"
        "* - two\n    lines\n\n    more\n  - 4\n```",
        "**Table.** Sizes\n\n| a | *kernel* |\n| --- | --- |\n| 1 |  |\n| two lines<br>more | 4 |",
    ),
    ("```{table} Cap\n| a |\n|---|\n| {sub}`1` |\n```", "**Table.** Cap\n\n| a |\n|---|\n| <sub>1"),
    (
        "```{glossary}\n:sorted:\n\nkernel\n핵\n  A {term}`kernel`.\n\npad\n  Zeros.\n```",
        "- **kernel**, **핵**: A *kernel*.\n- **pad**: Zeros.",
    ),
    ("term\n: A definition\n  goes on.\n", "- **term**: A definition\n  goes on."),
    ("term\n: A {term}`pad` of `0`.\n\nEnd.", "- **term**: A *pad* of `0`.\n\nEnd."),
    ("```{margin}\nAside.\n```", "Aside."),
    ("````{grid} 2\n```{grid-item-card} One\nText.\n```\n````", "**One**\n\nText."),
    ("One.\n\n```{tableofcontents}\n```\n\nTwo.", "One.\n\nTwo."),
    ("One.\n\n(a-target)=\n## Two", "One.\n\n## Two"),
    ("One.\n\n% a remark\n\nTwo.", "One.\n\nTwo."),
    ("{.big}\nOne.", "One."),
    (
        "1. One\n\n   ```{tip}\n   Two.\n   ```\n",
        '1. One\n\n   <div class="alert alert-success">\n\n',
    ),
    ("> ```{code-block} text\n> a\n>\n> b\n> ```", "> ```text\n> a\n> \n> b\n> ```"),
    ("[Other](other.md)", "Other"),
    ("[](other.md)", "Another page"),
    ("[see *{term}`kernel`*](#eq-a) {eq}`eq-a`", "see **kernel** (1)"),
    ("[site](https://example.org) {eq}`eq-a`", "[site](https://example.org) (1)"),
    ("<https://example.org> {eq}`eq-a`", "<https://example.org> (1)"),
    ("| a | b |\n|---|---|\n| {eq}`eq-a` | {eq}`eq-b` |", "| (1) | (2) |"),
    ("| {term}`pad` | {term}`pad` |\n|---|---|", "| *pad* | *pad* |"),
    ("> two {term}`small\n> words <kernel>`", "> two *small words*"),
]


@pytest.mark.parametrize(("myst", "plain"), DIRECTIVE_TABLE)
def test_block(context, myst, plain):
    got = plain_markdown(myst, context)
    assert plain in got
    assert not re.search(r"^\s*(```+|:::+)\{", got, re.MULTILINE)


def test_every_entry_of_the_tables_is_tried():
    tried = " ".join(myst for myst, _ in ROLE_TABLE + DIRECTIVE_TABLE)
    same = {  # one function under several names: one of them is tried
        *("py:class", "py:meth", "py:mod", "py:data", "py:attr", "py:exc", "py:obj"),
        *("class", "meth", "mod", "data", "attr", "exc", "obj"),
        *("code", "command", "envvar", "option", "program"),
        *("important", "hint", "caution", "attention", "danger", "error", "sidebar"),
        *("grid-item", "tab-set", "card-footer", "card", "tab-item", "code"),
        *("contents", "toctree", "index"),
    }
    elsewhere = {"bibliography", "graded-exercise"}
    missing = {name for name in [*ROLES, *DIRECTIVES] if f"{{{name}}}" not in tried}
    assert missing == same | elsewhere


KEPT = [
    "A `{term}`, ``{term}`kernel` `` and $\\{term\\}`x`$ stay.",
    "```python\n{term}`kernel`\n```",
    "    {term}`kernel`",
    "$$\na_{b} \\\\ {c}\n$$",
    "\\begin{align}\na &= {b}\n\\end{align}",
    "| a |\n|---|\n| `b` |",
    "- [ ] one\n- two *three* **four** \\{five\\}\n\n> six\n\n---\n\n<b>seven</b>",
]


@pytest.mark.parametrize("text", KEPT)
def test_code_maths_and_markdown_are_left_alone(context, text):
    assert plain_markdown(text, context) == text


def test_a_role_after_code_that_looks_like_it(context):
    text = "``{term}`kernel` `` is written {term}`kernel`."
    assert plain_markdown(text, context) == "``{term}`kernel` `` is written *kernel*."


REFUSED = [
    ("one\n\n{rolle}`x`", "book/a/page.md:12: unknown role 'rolle'; known roles: term,"),
    ("one\ntwo {rolle}`x`", "book/a/page.md:11: unknown role 'rolle'"),
    (
        "one\n\n```{mermaid}\n```",
        "book/a/page.md:12: unknown directive 'mermaid'; known directives",
    ),
    ("```{note}\n:class: x\n\n{rolle}`x`\n```", "book/a/page.md:13: unknown role 'rolle'"),
    ("a\nb {{ sub }}", "book/a/page.md:11: a notebook cannot show '{{ sub }}'"),
    ("{{ sub }}", "book/a/page.md:10: a notebook cannot show a 'substitution_block'"),
    ("a[^1]\n\n[^1]: note", "a notebook cannot show"),
    ("{numref}`fig-none`", "no page or label 'fig-none' in the book; known labels: eq-a, eq-b"),
    ("{doc}`none`", "no page 'book/a/none'; known pages: book/index, book/a/page"),
    ("[x](none.md)", "no page or label 'none.md'"),
    ("{cite}`none`", "no source 'none' in the bibliography; known: lecun1998, two2001"),
    ("{glue}`none`", "no cell of this page glues 'none'; glued values: score"),
    ("```{image} none.png\n```", "no image 'none.png'"),
    ("```{literalinclude} none.py\n```", "literalinclude 'none.py'"),
    ("```{literalinclude} code.py\n:pyobject: none\n```", "literalinclude 'code.py'"),
    (":::{div} x\n```{graded-exercise} a/b\n```\n:::", "move it to the top level"),
]


@pytest.mark.parametrize(("myst", "message"), REFUSED)
def test_what_has_no_plain_form_is_refused_with_page_and_line(context, myst, message):
    with pytest.raises(MarkdownError, match=re.escape(message)):
        plain_markdown(myst, context)


def test_links_lead_to_the_site_where_it_has_an_address(context):
    config = context.book.config | {"html": {"baseurl": "https://example.org/course/"}}
    context = replace(context, book=replace(context.book, config=config))
    text = "[see `x`](other.md), {term}`kernel` and {doc}`other`"
    assert plain_markdown(text, context) == (
        "[see `x`](https://example.org/course/book/a/other.html), "
        "[*kernel*](https://example.org/course/book/words.html#term-kernel) and "
        "[Another page](https://example.org/course/book/a/other.html)"
    )


def test_the_parser_is_that_of_the_site():
    assert Book.read().config["parse"]["myst_enable_extensions"], "the site names none"
    assert "myst_role" in Book.read().parser.inline.ruler.get_all_rules()


# --- whole notebooks ----------------------------------------------------------------------------


def test_executed_notebook_keeps_outputs_and_is_plain(book):
    nb = executed_notebook(run(book), Named("book/a/page"), book)
    nbformat.validate(nb)
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    assert text.startswith("# A page\n\nFirst Figure 2, (2), LeCun et al. (1998) and 98.7%.")
    assert "**Figure 1.** A *first* figure." in text
    assert "**Figure 2.** See (1)." in text
    assert "After, in Exercise 1." in text
    assert text.count("## References") == 1
    assert text.rstrip().endswith("*Proc*, 1998\\.")
    glued, first, second, answer, check = (c for c in nb.cells if c.cell_type == "code")
    assert first.outputs[0].data["text/plain"] == "1"
    assert second.outputs[0].data["text/plain"] == "2"
    assert glued.metadata == {"tags": ["hide-input", "row-C01"], "jupyter": {"source_hidden": True}}
    assert not answer.outputs
    assert not check.outputs
    assert not re.search(r"\{[\w:-]+\}`|[`:~]{3}\{|^\(\w+\)=", text, re.MULTILINE)


def test_pictures_are_as_wide_as_on_the_site(book):
    nb = run(book)
    cell = next(c for c in nb.cells if "mystnb" in c.metadata)
    cell.metadata["mystnb"]["image"] = {"alt": "A dot", "width": "420px"}
    cell.outputs = [new_output("display_data", {"image/png": base64.b64encode(PNG).decode()})]
    made = executed_notebook(nb, Named("book/a/page"), book)
    (shown,) = [o for c in made.cells for o in c.get("outputs", []) if "image/png" in o.data]
    assert shown.metadata == {"image/png": {"width": 420}}


def test_student_notebook_has_no_outputs_and_explains_itself(book):
    nb = student_notebook(run(book), Named("book/a/page"), book)
    nbformat.validate(nb)
    assert nb.metadata.kernelspec.name == "python3"
    assert "covers" not in nb.metadata
    assert nb.cells[0].source.startswith("# A page\n\n<div")
    assert 'pip install ".[book,lab]"' in nb.cells[0].source
    assert "98.7%" in nb.cells[0].source
    assert "An exercise has two cells" in nb.cells[0].source
    other = student_notebook(run(book, "book/a/other"), Named("book/a/other"), book)
    assert "How to work" in other.cells[0].source
    assert "exercise" not in other.cells[0].source
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert len(code) == 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_a_page_that_lists_its_sources_gets_no_second_list(book, tmp_path):
    page = tmp_path / "book/a/other.md"
    text = page.read_text(encoding="utf-8") + "\n```{bibliography}\n```\n\n{cite:t}`two2001`\n"
    page.write_text(text, encoding="utf-8")
    sources = {"book/a/other": text}
    book = replace(book, sources=sources)
    nb = executed_notebook(read(book, "book/a/other"), Named("book/a/other"), book)
    assert nb.cells[-1].source.startswith("- Ada Ek and Bo Löf\\. *Pairs*\\.")


def test_exercise_cells_are_found_by_id_and_role(book):
    nb = student_notebook(run(book), Named("book/a/page"), book)
    found = {c.metadata.course.role: c for c in nb.cells if "course" in c.metadata}
    task = load("convolution/output-size")
    assert list(found) == ["prompt", "answer", "check"]
    assert {c.metadata.course.exercise for c in found.values()} == {task.id}
    assert [c.id for c in found.values()] == [
        f"ex-convolution-output-size-{role}" for role in ("prompt", "answer", "check")
    ]
    assert found["prompt"].source.startswith(f"### Exercise 1: {task.title}\n\n*6 points*\n\n")
    assert found["answer"].source == task.starter.rstrip()
    assert found["check"].source.endswith('check("convolution/output-size", output_size)')
    order = [cell.source for cell in nb.cells]
    assert order.index("Before.") + 1 == order.index(found["prompt"].source)


def test_equal_pages_give_equal_bytes(book):
    nb = run(book)
    before = nbformat.writes(nb)
    once, twice = (nbformat.writes(student_notebook(nb, Named("book/a/page"), book)) for _ in "12")
    assert once == twice
    assert nbformat.writes(nb) == before, "the page itself was changed"


def test_ids_survive_text_put_in_front(book):
    nb = run(book)
    ids = [c.id for c in executed_notebook(nb, Named("book/a/page"), book).cells]
    longer = PAGE.replace("# A page\n", "# A page\n\n```{code-cell} python\n0\n```\n")
    book = replace(book, sources={**book.sources, "book/a/page": longer})
    nb = run(book)
    new = [c.id for c in executed_notebook(nb, Named("book/a/page"), book).cells]
    assert set(ids[1:]) < set(new)
    assert len(new) == len(set(new))


def test_unknown_exercise_names_page_and_line(book):
    text = PAGE.replace("convolution/output-size", "convolution/output-sizes")
    book = replace(book, sources={**book.sources, "book/a/page": text})
    line = text.splitlines().index("```{graded-exercise} convolution/output-sizes") + 1
    with pytest.raises(MarkdownError, match=rf"page\.md:{line}: .*no exercise.*output-size"):
        executed_notebook(run(book), Named("book/a/page"), book)


def test_a_later_cell_may_not_run_the_learners_function(book):
    text = PAGE + "\n```{code-cell} python\nprint(output_size)\n```\n"
    book = replace(book, sources={**book.sources, "book/a/page": text})
    line = text.splitlines().index("print(output_size)") + 1
    nb = read(book)
    nb.cells[1].outputs = run(Book.read(book.root)).cells[1].outputs
    with pytest.raises(
        MarkdownError, match=rf"page\.md:{line}: .*'output_size'.*move the exercise"
    ):
        student_notebook(nb, Named("book/a/page"), book)


def own_lines(id):
    """Return the lines of a solution that only a solution has; descriptions tell no secrets."""
    task = load(id)
    described = {
        number
        for node in ast.walk(ast.parse(task.solution))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)
        for number in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    numbered = enumerate(task.solution.splitlines(), start=1)
    code = {line.strip() for number, line in numbered if number not in described}
    lines = code - {line.strip() for line in task.starter.splitlines()}
    common = re.compile("#|from |import |def |class ")
    return {line for line in lines if len(line) > 24 and not common.match(line)}


@pytest.mark.parametrize("id", exercise_ids())
def test_no_student_notebook_of_the_book_holds_a_solution(id):
    """Not even where the page shows the code by literalinclude."""
    secret = own_lines(id)
    assert secret, "nothing to look for"
    book = Book.read()
    pages = [name for name, text in book.sources.items() if f"{{graded-exercise}} {id}\n" in text]
    assert len(pages) == 1
    nb = student_notebook(with_glue(read(book, pages[0])), Named(pages[0]), book)
    task = load(id)
    prompts = [c.source for c in nb.cells if c.get("metadata", {}).get("course")]
    assert prompts, "the exercise is missing"
    for cell in nb.cells:
        lines = {line.strip() for line in cell.source.splitlines()}
        assert not lines & secret, f"{task.id}: {lines & secret}"
        assert not any(m.hint in " ".join(cell.source.split()) for m in task.mistakes)


def with_glue(nb):
    """Give a page that was not run a value for each name that it glues."""
    names = re.findall(r"""\bglue\(\s*["']([\w-]+)["']""", "\n".join(c.source for c in nb.cells))
    code = next(cell for cell in nb.cells if cell.cell_type == "code")
    for name in names:
        meta = {"scrapbook": {"name": name, "mime_prefix": ""}}
        code.outputs.append(new_output("display_data", {"text/plain": "0.5"}, metadata=meta))
    return nb


def test_solution_shown_on_the_page_is_left_out_for_students(book):
    id = "convolution/output-size"
    text = PAGE + "\n```{literalinclude} /mine.py\n:pyobject: output_size\n```\n"
    source = Path(load(id).reference.__code__.co_filename).read_text(encoding="utf-8")
    (book.root / "mine.py").write_text(source, encoding="utf-8")
    book = replace(book, sources={**book.sources, "book/a/page": text})
    nb = run(book)
    reading = executed_notebook(nb, Named("book/a/page"), book)
    working = student_notebook(nb, Named("book/a/page"), book)
    shown, hidden = (
        {s.strip() for c in n.cells for s in c.source.split("\n")} for n in (reading, working)
    )
    assert own_lines(id) & shown
    assert not own_lines(id) & hidden
    assert "shows the code of `output_size` here" in "".join(hidden)


def test_code_that_shares_a_signature_with_a_solution_is_shown_to_students(book):
    signature = "def forward(self, input: Tensor) -> Tensor:"
    assert signature in load("architectures/squeeze-excitation").solution
    code = f"class Mine:\n    {signature}\n        return self.something_else(input)\n"
    (book.root / "mine.py").write_text(code, encoding="utf-8")
    text = PAGE + "\n```{literalinclude} /mine.py\n:pyobject: Mine.forward\n```\n"
    book = replace(book, sources={**book.sources, "book/a/page": text})
    working = student_notebook(run(book), Named("book/a/page"), book)
    assert any("something_else" in cell.source for cell in working.cells)


@pytest.mark.parametrize("id", exercise_ids())
def test_student_notebook_runs_and_checks(book, id):
    """The starter's check says something and does not raise; the solution's check passes."""
    text = f"{FRONT}# A page\n\n```{{graded-exercise}} {id}\n```\n"
    label = replace(book.labels["ex-convolution-output-size"], page="book/a/other")
    labels = {exercise_label(id): label}
    book = replace(book, sources={"book/a/other": text}, labels=labels)
    nb = student_notebook(read(book, "book/a/other"), Named("book/a/other"), book)
    assert "Nothing to check yet" in checked(nb)
    answer = next(
        c for c in nb.cells if c.get("metadata", {}).get("course", {}).get("role") == "answer"
    )
    reference = load(id).reference
    answer.source = f"from {reference.__module__} import {reference.__name__}"
    points = load(id).points
    assert f"{id}: {points} of {points} points" in checked(nb)


def checked(nb):
    """Run a notebook in a kernel and return what its check printed."""
    NotebookClient(nb, timeout=120, kernel_name="python3").execute()
    return "".join(o.text for o in nb.cells[-1].outputs if o.output_type == "stream")


def test_module_says_what_it_offers():
    assert set(module.__all__) <= set(dir(module))
