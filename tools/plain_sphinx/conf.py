"""Build the book by Sphinx alone, from the same `_config.yml` that Jupyter Book reads.

sphinx-build -c tools/plain_sphinx . _build/plain
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
_config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
_execute = _config["execute"]

extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinx_copybutton",
    "sphinx_togglebutton",
    "sphinx_design",
    "sphinx_multitoc_numbering",
    "sphinxcontrib.bibtex",
    *_config["sphinx"]["extra_extensions"],
    *_config["sphinx"]["local_extensions"],
]
html_theme = "sphinx_book_theme"
numfig = True

project = html_title = _config["title"]
author = _config["author"]
copyright = f"{_config['copyright']}, {author}"
external_toc_path = str(ROOT / "_toc.yml")
external_toc_exclude_missing = _config["only_build_toc_files"]
exclude_patterns = _config["exclude_patterns"]
bibtex_bibfiles = [str(ROOT / path) for path in _config["bibtex_bibfiles"]]
myst_enable_extensions = _config["parse"]["myst_enable_extensions"]
nb_execution_mode = _execute["execute_notebooks"]
nb_execution_timeout = _execute["timeout"]
nb_execution_raise_on_error = _execute["raise_on_error"]
nb_execution_show_tb = _execute["show_tb"]
nb_output_stderr = _execute["stderr_output"]

# What `_config.yml` passes on to Sphinx as it is; paths there start at the repository.
globals().update(_config["sphinx"]["config"])
html_static_path = [str(ROOT / path) for path in _config["sphinx"]["config"]["html_static_path"]]
html_favicon = str(ROOT / _config["html"]["favicon"])
nb_execution_cache_path = str(ROOT / _config["sphinx"]["config"]["nb_execution_cache_path"])
