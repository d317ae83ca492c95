"""Change the code in small ways and count how many changes the tests notice.

    python tools/mutants.py

The modules and their tests stand in pyproject.toml (`tool.mutmut`). Each module must have at
least nine in ten of its mutants killed. A survivor is either a gap in the tests or a change that
makes no difference; look at it with `.venv/bin/mutmut show NAME`.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUTMUT = [sys.executable, "-m", "mutmut"]
WANTED = 0.90


def mutants() -> dict[str, str]:
    """Return the outcome of each mutant, by its name."""
    command = [*MUTMUT, "results", "--all", "true"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = (line.strip().rsplit(": ", 1) for line in result.stdout.splitlines())
    return {parts[0]: parts[1] for parts in lines if len(parts) == 2 and "__mutmut_" in parts[0]}


def main() -> int:
    """Run the mutants, print a line per module, list the survivors."""
    subprocess.run([*MUTMUT, "run"], cwd=ROOT, check=True)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in mutants().items():
        outcomes[name.split(".x")[0]][outcome] += 1
        if outcome != "killed":
            print(f"{outcome:10} {name}")
    print()
    killed = {module: count["killed"] / count.total() for module, count in outcomes.items()}
    for module, count in sorted(outcomes.items()):
        print(f"{module:40} {count['killed']:4} of {count.total():4} killed  {killed[module]:.1%}")
    return int(not killed or min(killed.values()) < WANTED)


if __name__ == "__main__":
    sys.exit(main())
