"""Every row of the course is claimed by a page, computed by a cell and checked by a test.

The rows stand in tests/coverage.csv. A page claims rows in its front matter (`covers`), proves
each in a cell tagged `row-ID`, and a test marked `covers("ID")` checks the claim. Rows that no
page claims yet are listed at the end of the test run.
"""

import csv
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def rows() -> list[str]:
    with (ROOT / "tests" / "coverage.csv").open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def claims() -> list[tuple[str, str]]:
    """Return (page, row) for every row that a page's front matter claims."""
    found = []
    for page in sorted((ROOT / "book").rglob("*.md")):
        front = re.match(r"---\n(.*?)\n---\n", page.read_text(encoding="utf-8"), re.S)
        covers = yaml.safe_load(front[1]).get("covers", []) if front else []
        found += [(page.relative_to(ROOT).as_posix(), row) for row in covers]
    return found


def rows_with_a_test() -> set[str]:
    """Return the rows named by a `covers` marker of some test."""
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py")]
    markers = re.findall(r"^@pytest\.mark\.covers\(([^)]*)\)", "\n".join(sources), re.M)
    return set(re.findall(r'"([A-Z]\d\d)"', " ".join(markers)))


def homeless() -> list[str]:
    """Return the rows that no page claims yet."""
    return sorted(set(rows()) - {row for _, row in claims()})


def test_rows_are_unique_and_well_formed():
    assert len(set(rows())) == len(rows()) == 133
    assert all(re.fullmatch(r"[TCAGXSE]\d\d", row) for row in rows())


def test_pages_claim_something():
    assert claims()


@pytest.mark.parametrize(("page", "row"), claims())
def test_a_claimed_row_exists_has_a_cell_and_a_test(page, row):
    assert row in rows(), f"{page} claims {row}, which is not in tests/coverage.csv"
    cells = re.findall(r"^```\{code-cell\}.*?^```", (ROOT / page).read_text("utf-8"), re.M | re.S)
    tagged = [c for c in cells if re.search(rf"\brow-{row}\b", c)]
    assert tagged, f"{page} claims {row}, but no cell is tagged row-{row}"
    assert any("assert" in c for c in tagged), f"no cell tagged row-{row} of {page} asserts it"
    assert row in rows_with_a_test(), f'no test is marked @pytest.mark.covers("{row}")'
