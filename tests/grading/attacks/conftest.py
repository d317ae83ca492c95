"""One batch for each kind of isolation, shared by all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grading.attacks.batch import Run, attacked
from grading.attacks.stage import Stage


@pytest.fixture(scope="session", params=["namespaces", "landlock"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Everything graded at once, and the stage on which it was."""
    with Stage(tmp_path_factory.mktemp(request.param)) as stage:
        yield attacked(stage, request.param)
