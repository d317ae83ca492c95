"""The local Sphinx extension, on a small site of its own, built through Sphinx's Python API."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from course_sphinx import card
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from coursepkg.grading import load

ID = "convolution/output-size"
CONF = """
extensions = ["myst_nb", "sphinx_copybutton", "sphinx_togglebutton", "course_sphinx"]
html_theme = "sphinx_book_theme"
nb_execution_mode = "force"
nb_execution_timeout = 60
myst_enable_extensions = ["dollarmath", "colon_fence"]
numfig = True
exclude_patterns = ["_build", "_site"]
"""
FRONT = """---
jupytext: {text_representation: {format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
CARD = f"# Page\n\n```{{graded-exercise}} {ID}\n```\n\nSee {{ref}}`ex-convolution-output-size`.\n"
PLOT = """
```{code-cell} python
---
mystnb: {image: {alt: %s}}
---
import matplotlib.pyplot as plt
plt.figure(figsize=(1, 1)).gca().plot([1, 2]);
```
"""


def build(folder, **pages):
    """Build a site of these pages; return its folder and the warnings."""
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    tree = "\n```{toctree}\nother\n```\n" if "other" in pages else ""
    for name, text in pages.items():
        page = text + tree if name == "index" else text
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
    site, log = folder / "_site", folder / "warnings.txt"
    with docutils_namespace(), log.open("w", encoding="utf-8") as warning:
        app = Sphinx(folder, folder, site, folder / "_trees", "html", status=None, warning=warning)
        app.build()
    return site, re.sub("\x1b.*?m", "", log.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a built site with an exercise, a good picture and two notebooks; and warnings."""
    folder = tmp_path_factory.mktemp("site")
    for kind in ("executed", "student"):
        path = folder / "_build/downloads" / kind / "index.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(f'"{kind}"', encoding="utf-8")
    picture = FRONT + "# Other\n" + PLOT % "A rising line"
    return build(folder, index=CARD, other=picture)


@pytest.fixture(scope="module")
def page(site):
    """Return the page with the exercise, parsed."""
    return parse(site[0] / "index.html")


def parse(path):
    """Return a page of the site."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def text_of(elements):
    """Return the words of elements, single spaced."""
    return " ".join(" ".join(e.text for e in elements).split())


def test_site_builds_without_warnings(site):
    assert site[1] == ""


def test_card_is_numbered_and_can_be_referred_to(page):
    (found,) = page.select("div.exercise.course-exercise")
    assert found["id"] == "ex-convolution-output-size"
    assert text_of(found.select("p.admonition-title")).startswith("Exercise 1")
    assert load(ID).title in text_of(found.select("p.admonition-title"))
    (link,) = page.select("article > section > p > a.reference.internal")
    assert link["href"] == "#ex-convolution-output-size"
    assert text_of([link]) == "Exercise 1"


def test_card_holds_points_prompt_starter_and_check(page):
    task = load(ID)
    (found,) = page.select("div.course-exercise")
    assert text_of(found.select(".course-points")).startswith(f"{task.points} points: kernel 1,")
    assert len(found.select("#exercise-content > ul > li")) == 4, "the prompt's list"
    starter, check = (e.text.strip() for e in found.select(".highlight-python"))
    assert starter == task.starter.strip()
    assert check == f'from coursepkg import check\n\ncheck("{ID}", output_size)'


def test_hints_are_folded_one_by_one(page):
    task = load(ID)
    (found,) = page.select("div.course-exercise")
    (outer,) = found.select("section details.course-mistakes, div details.course-mistakes")
    inner = outer.select("details details")
    assert not [d for d in [outer, *inner] if d.has_attr("open")]
    assert len(inner) == len(task.mistakes) > 5
    for details, mistake in zip(inner, task.mistakes, strict=True):
        words = mistake.name.replace("_", " ").capitalize()
        assert text_of(details.select("summary")) == words
        assert re.sub("`", "", mistake.hint)[:30] in text_of([details])


def test_solution_is_folded_and_names_its_exercise(page):
    (found,) = page.select("div.solution")
    assert {"dropdown", "course-solution"} <= set(found["class"])
    assert text_of(found.select("p.admonition-title")).startswith("Solution to Exercise 1")
    assert text_of(found.select(".highlight-python")) == " ".join(load(ID).solution.split())


def test_backticks_and_fences_in_an_exercise_survive(tmp_path):
    task = load(ID)
    odd = "Use `x`.\n\n~~~~text\na\n~~~~\n\n````text\n```\n````"
    object.__setattr__(copy := type(task)(**vars(task)), "prompt", odd)
    object.__setattr__(copy, "title", "Use `output_size`")
    site, warnings = build(tmp_path, index=f"# Page\n\n{card(copy)}\n")
    page = parse(site / "index.html")
    (found,) = page.select("div.course-exercise")
    assert warnings == ""
    assert text_of(found.select(".highlight-text")) == "a ```"
    assert text_of(found.select("p.admonition-title code")) == "output_size"


def test_download_menu_offers_both_notebooks_and_they_are_there(site, page):
    links = page.select(".dropdown-download-buttons a")
    assert [text_of([a]) for a in links] == [
        "Executed notebook (.ipynb)",
        "Student notebook (.ipynb)",
        ".md",
    ]
    for link, kind in zip(links[:2], ("executed", "student"), strict=True):
        assert link["href"] == f"_notebooks/index-{kind}.ipynb"
        assert (site[0] / link["href"]).read_text(encoding="utf-8") == f'"{kind}"'


def test_pages_without_notebooks_offer_none(site):
    page = parse(site[0] / "other.html")
    links = page.select(".dropdown-download-buttons a")
    assert [text_of([a]) for a in links] == [".md"]


def test_no_launch_buttons_without_a_repository(page):
    assert not page.select(".dropdown-launch-buttons, .dropdown-source-buttons")


def test_unknown_exercise_warns_with_page_and_line(tmp_path):
    text = "# Page\n\nText.\n\n```{graded-exercise} convolution/output-sise\n```\n"
    _, warnings = build(tmp_path, index=text)
    assert re.search(
        r"index\.md:5: WARNING: there is no exercise 'convolution/output-sise'.*output-size",
        warnings,
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# Page\n\nText.\n\n![](dot.svg)\n", {5}),
        ("# Page\n\n## Part\n\n```{image} dot.svg\n```\n", {3}),  # the section it stands in
        (FRONT + "# Page\n" + PLOT % '""', set(range(7, 13))),  # somewhere in the cell
    ],
)
def test_image_without_alt_text_warns_with_page_and_line(tmp_path, text, lines):
    dot = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
    (tmp_path / "dot.svg").write_text(dot, encoding="utf-8")
    _, warnings = build(tmp_path, index=text)
    (line,) = re.findall(r"index\.md:(\d+): WARNING: image .* has no alt text", warnings)
    assert int(line) in lines


def test_card_is_made_again_when_the_exercise_changes(tmp_path):
    with docutils_namespace():
        (tmp_path / "conf.py").write_text(CONF, encoding="utf-8")
        (tmp_path / "index.md").write_text(CARD, encoding="utf-8")
        app = Sphinx(tmp_path, tmp_path, tmp_path / "s", tmp_path / "t", "html", status=None)
        app.build()
    names = {Path(path).name for path in app.env.dependencies["index"]}
    assert names == {"output_size.py", "arithmetic.py"}
