"""What all tests share."""

import sys

import pytest
from hypothesis import HealthCheck, settings
from test_coverage import homeless, rows

# A busy machine makes no law false.
settings.register_profile("course", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("course")


@pytest.fixture(autouse=True)
def main_module():
    """Put back the main module: a submission has one of its own, and takes the name for it."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


def pytest_terminal_summary(terminalreporter):
    """List the rows of the course that no page teaches yet."""
    missing = homeless()
    terminalreporter.section("coverage of the course")
    terminalreporter.write_line(f"{len(rows()) - len(missing)} of {len(rows())} rows are taught")
    terminalreporter.write_line("without a home: " + " ".join(missing))
