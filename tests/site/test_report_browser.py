"""Reports in a real browser: no fault, no barrier, and nothing that a learner wrote runs."""

import pytest
from sample_marks import book

from coursepkg.grading.report.pages import class_page, learner_page
from coursepkg.grading.report.similarity import Pair, Similarity


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The class report and the pages of the hostile learner and of one with an override."""
    folder = tmp_path_factory.mktemp("report")
    rows = {row.learner[:3]: row for row in book().rows}
    pairs = (Pair("convolution/conv2d", "ada", "kurt", 1.0),)
    (folder / "class.html").write_text(class_page(book(), Similarity(pairs, ())))
    (folder / "hostile.html").write_text(learner_page(rows["../"]))
    (folder / "changed.html").write_text(learner_page(rows["ada"]))
    return folder


NAMES = ("class", "hostile", "changed")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_a_report_has_no_barriers_and_fits(open_page, serious_findings, pages, name, scheme, width):
    page = open_page(
        (pages / f"{name}.html").as_uri(),
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        bypass_csp=True,  # for axe, which is a script
    )
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_lets_style_and_plots_through_and_nothing_runs(open_page, pages, name):
    page = open_page((pages / f"{name}.html").as_uri())
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.reload()
    assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "960px"
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert page.evaluate("document.scripts.length") == 0
    assert dialogs == []
