"""Pages: what they tell, and that nothing a learner wrote becomes a tag, an attribute or a name."""

import base64
import hashlib
import html.parser
import itertools
import re

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_marks import (
    FEEDBACK,
    HINT,
    HOSTILE,
    OVERRIDES,
    SECOND,
    book,
    conv2d,
    full,
    graded,
    hostile,
    mark,
    nothing,
)

from coursepkg.grading.report.gradebook import Gradebook
from coursepkg.grading.report.pages import class_page, learner_page
from coursepkg.grading.report.similarity import MISSING, Pair, Similarity
from coursepkg.grading.store import Override

WINDOW = "convolution/output-size"
NONE = Similarity((), ())
SIMILAR = Similarity((Pair("convolution/conv2d", "ada", "Lovelace, Ada", 0.95),), ("a remark",))
VOID = {"meta", "img", "br"}


def row(learner):
    return next(row for row in book().rows if row.learner.startswith(learner))


def page_of(*marks, learner="a", overrides=(), **changes):
    return learner_page(Gradebook.of([graded(learner, *marks, **changes)], overrides).rows[0])


def soup(text):
    return BeautifulSoup(text, "html.parser")


def texts(found):
    return [" ".join(one.get_text(" ").split()) for one in found]


def section(text, heading):
    return soup(text).find(id=heading).find_parent("section")


class Skeleton(html.parser.HTMLParser):
    """The elements of a page with their attributes, as a browser would find them, without text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, tuple(name for name, _ in attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data):
        raise AssertionError(f"an instruction: {data}")


def skeleton(text):
    found = Skeleton(text)
    assert found.open == []
    return found.elements


PAGES = {
    "class": lambda: class_page(book(), SIMILAR),
    "empty class": lambda: class_page(Gradebook.of([]), NONE),
    "changed": lambda: learner_page(row("ada")),
    "hostile": lambda: learner_page(row("..")),
    "nothing": lambda: page_of(nothing("missing"), problems=("empty file",)),
    "no marks": lambda: learner_page(Gradebook.of([graded("a")]).rows[0]),
}


@pytest.fixture(params=PAGES)
def page(request):
    return PAGES[request.param]()


def test_a_page_forbids_all_but_its_own_style_and_pictures(page):
    policy = soup(page).find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    style = soup(page).find("style").string
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_a_page_has_no_script_and_asks_for_nothing(page):
    assert not soup(page).find_all(["script", "link", "iframe", "object", "base", "form"])
    for element in soup(page).find_all(True):
        assert not [name for name in element.attrs if name.startswith("on") or name == "style"]
        assert element.get("src", "data:").startswith("data:image/svg+xml;base64,"[:5])
        assert re.match(r"#[a-z0-9-]+$|learners/[a-z0-9._-]+\.html$|$", element.get("href", ""))
    assert "url(" not in page
    assert "@import" not in page


def test_a_page_is_accessible_in_its_structure(page):
    read = soup(page)
    assert read.html["lang"] == "en"
    assert read.title.string
    levels = [int(h.name[1]) for h in read.find_all(re.compile(r"^h\d$"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert all(header.get("scope") in ("col", "row") for header in read.find_all("th"))
    assert all(len(picture["alt"]) > 20 for picture in read.find_all("img"))
    ids = [element["id"] for element in read.find_all(id=True)]
    assert len(ids) == len(set(ids))
    for link in read.find_all("a", href=re.compile("^#")):
        assert link["href"][1:] in ids


def test_a_page_is_well_formed_and_can_be_stored(page):
    skeleton(page)
    page.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_a_page_is_the_same_each_time(page, request):
    assert page == PAGES[request.node.callspec.params["page"]]()


def tame():
    """Return the hostile submission with harmless words in each place."""
    words = mark(feedback="words", source="words", place="words", hints=("words", HINT))
    return graded("words", words, conv2d(2, source="words"), problems=("words",))


def test_no_element_or_attribute_comes_from_content():
    why = Override("../" + HOSTILE, WINDOW, 1, HOSTILE, HOSTILE, HOSTILE)
    bad = Gradebook.of([hostile()], [why])
    good = Gradebook.of([tame()], [Override("words", WINDOW, 1, "words", "words", "2026-03-01")])
    assert skeleton(learner_page(bad.rows[0])) == skeleton(learner_page(good.rows[0]))
    for_class = Similarity((Pair(WINDOW, "../" + HOSTILE, HOSTILE, 1.0),), (HOSTILE,))
    harmless = Similarity((Pair(WINDOW, "words", "other", 1.0),), ("words",))
    assert skeleton(class_page(bad, for_class)) == skeleton(class_page(good, harmless))


@settings(max_examples=100)
@given(st.text(st.characters() | st.sampled_from("<>&\"'/`{}%-!]"), min_size=1))
def test_whatever_a_learner_writes_is_text(text):
    def skeleton_with(words):
        bad = mark(feedback=words, source=words, place=words, hints=())
        override = Override("a", WINDOW, 1, words, words, words)
        return skeleton(page_of(bad, overrides=[override], problems=(words,)))

    assert skeleton_with(text) == skeleton_with("words")


def test_a_learner_reads_marks_feedback_and_the_code_that_was_graded():
    read = soup(learner_page(row("kurt")))
    assert texts([read.h1]) == ["kurt"]
    assert "2 of 7 points" in texts([read.header])[0]
    assert read.find("pre", class_="feedback").get_text() == FEEDBACK
    assert "def output_size" in read.find("pre", class_="code").get_text()
    assert texts([read.summary]) == ["The code that was graded from homework.ipynb, cell 12"]
    groups = texts(read.find("div", class_="narrow").find_all("tr"))
    assert groups == [
        "Cases Result Points Of",
        "kernel ✓ passed 1 1",
        "stride ✓ passed 1 1",
        "padding ✗ failed 0 1",
    ]


def test_a_hint_that_the_feedback_shows_is_not_repeated():
    wrapped = FEEDBACK.replace("both ends of the row", "both ends of\nthe row")
    assert "More hints" not in page_of(mark(feedback=wrapped))
    assert "<h3>Hints</h3>" not in page_of(mark(feedback=wrapped))
    more = soup(page_of(mark(hints=(HINT, SECOND))))
    assert texts(more.find("h3", string="More hints").find_next("ul").find_all("li")) == [SECOND]


def test_an_override_stands_beside_the_computed_mark_with_reason_and_date():
    read = soup(learner_page(row("ada")))
    [box] = read.find_all("div", class_="changed")
    assert texts([box]) == [
        "Changed by your instructor on 2026-03-02: 3 points instead of the 2 that were computed. "
        "The statement was ambiguous."
    ]
    assert "first thought" not in read.get_text()


def test_what_is_not_for_learners_is_not_on_their_page():
    told = learner_page(row("Lovelace")) + learner_page(row("ada"))
    assert "published" not in told.lower()
    assert "similar" not in told.lower()
    assert OVERRIDES[0].author not in told


@pytest.mark.parametrize(("isolation", "warned"), [("none", True), ("landlock", False)])
def test_a_run_without_isolation_is_told_in_a_box(isolation, warned):
    assert ("Run without isolation" in page_of(mark(), isolation=isolation)) is warned
    report = class_page(Gradebook.of([graded("a", isolation=isolation)]), NONE)
    assert ("Run without isolation" in report) is warned


@pytest.mark.parametrize(
    ("status", "words"),
    [("missing", "not found"), ("unwritten", "not written"), ("failed", "could not be run")],
)
def test_an_answer_that_was_not_run_says_why(status, words):
    assert words in texts(soup(page_of(nothing(status))).find_all("span", class_="tag"))


def test_the_class_report_counts():
    read = soup(class_page(book(), SIMILAR))
    assert texts([read.h1]) == ["6 submissions, 2 exercises"]
    assert "On average 4.3 of 7 points" in texts([read.header])[0]
    assert texts(read.nav.find_all("li")) == [
        "Submissions 6",
        "Exercises 2",
        "Known mistakes 4",
        "Failed groups 3",
        "Problems 2",
        "Published answers 1",
        "Similar pairs 1",
        "Overrides 2",
    ]


def test_the_most_frequent_mistake_stands_first_with_its_hint():
    first = section(class_page(book(), NONE), "mistakes").find("tbody").tr
    assert texts(first.find_all(["td", "th"])) == ["4", "Convolution by loops", SECOND]


def test_the_group_most_often_failed_stands_first_and_only_what_ran_counts():
    first = section(class_page(book(), NONE), "failed").find("tbody").tr
    assert texts(first.find_all(["td", "th"]))[:4] == ["Convolution by loops", "padding", "4", "5"]


def test_the_plots_are_told_in_words():
    alts = [picture["alt"] for picture in soup(class_page(book(), NONE)).find_all("img")]
    assert alts[1].startswith("Histogram of points of 6 learners, between 0 and 3.")
    assert alts[2] == "Passed by: kernel 100 %, stride 100 %, padding 50 %."


def test_problems_published_similar_and_overrides_are_listed():
    report = class_page(book(), SIMILAR)
    problems = section(report, "problems")
    assert "emmy" in texts(problems.find_all("dt"))
    assert "homework.ipynb is no JSON" in texts(problems.find_all("dd"))
    assert "Lovelace, Ada" in texts([section(report, "published").tbody])[0]
    assert "95 % ada Lovelace, Ada Convolution by loops" in texts([section(report, "similar")])[0]
    assert "a remark" in texts([section(report, "similar")])[0]
    first, second = texts(section(report, "overrides").tbody.find_all("tr"))
    assert "first thought does not count Prof. X 2026-03-01" in first
    assert "does not count" not in second


def test_without_copydetect_the_report_says_so():
    assert MISSING in soup(class_page(book(), Similarity((), (MISSING,)))).get_text()


def test_a_large_class_is_shown_in_part_and_says_so():
    pairs = tuple(Pair(WINDOW, "a", f"b{k}", 1.0) for k in range(150))
    report = class_page(Gradebook.of([graded("a", full())]), Similarity(pairs, ()))
    assert "the first 100 of 150" in section(report, "similar").get_text()
    assert len(section(report, "similar").tbody.find_all("tr")) == 100


def test_a_megabyte_of_text_makes_no_megabyte_of_page():
    assert len(page_of(mark(source="<" * 1_000_000, feedback="\x00" * 1_000_000))) < 400_000
