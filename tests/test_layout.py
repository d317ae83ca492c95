"""One word opens page, code and tests: the layout that CONTRIBUTING.md describes."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "coursepkg"
TOPICS = ("tasks", "convolution", "architectures", "augmentation", "transfer", "segmentation")
MODULES = sorted(
    path.relative_to(ROOT)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and path.parent.name != "exercises"
)
PAGES = [p for topic in TOPICS for p in sorted((ROOT / "book" / topic).glob("*.md"))]


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_module_has_tests_of_its_name(path):
    folder = Path("tests", *path.parts[1:-1])
    assert (ROOT / folder / f"test_{path.stem}.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_module_lists_its_public_names(path):
    module = importlib.import_module(dotted(path))
    assert module.__all__
    undocumented = [
        name
        for name in module.__all__
        if callable(thing := getattr(module, name))
        and getattr(thing, "__module__", None) == module.__name__
        and not (thing.__doc__ or "").strip()
    ]
    assert undocumented == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_public_function_is_left_out_of_all(path):
    module = importlib.import_module(dotted(path))
    tree = ast.parse((ROOT / path).read_text())
    defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert {name for name in defined if not name.startswith("_")} <= set(module.__all__)


def test_there_is_no_utils():
    assert [p for p in ROOT.glob("[!.]*/**/utils.py") if ".venv" not in p.parts] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_each_page_computes_with_the_package_folder_of_its_topic(page):
    topic = page.parent.name
    cells = re.findall(r"^```\{code-cell\}.*?^```", page.read_text(), re.M | re.S)
    imported = [c for c in cells if re.search(rf"\b(from|import) coursepkg\.{topic}\b", c)]
    assert imported, f"{page} imports nothing from coursepkg.{topic}"


def test_there_are_pages():
    assert len(PAGES) >= 2
