"""What all tests share."""

from test_coverage import homeless, rows


def pytest_terminal_summary(terminalreporter):
    """List the rows of the course that no page teaches yet."""
    missing = homeless()
    terminalreporter.section("coverage of the course")
    terminalreporter.write_line(f"{len(rows()) - len(missing)} of {len(rows())} rows are taught")
    terminalreporter.write_line("without a home: " + " ".join(missing))
