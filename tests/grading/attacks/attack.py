"""What an attack is, and what it may know of the machine that it attacks.

An attack is a submission: a file that defines `target`, and after it an honest `bystander` that
must keep its point whatever the attack does. The code may use the names of `Scene`, such as
`SECRET_FILE`; they are written at its top as plain assignments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import Any

__all__ = ["FULL", "Attack", "Scene", "submission", "table"]

#: Points of a right `target`.
FULL = 2

BYSTANDER = """
def bystander(x):
    return 3 * x
"""


@dataclass(frozen=True)
class Attack:
    """A hostile or clumsy submission, and what has to come of it.

    Attributes
    ----------
    name : str
        The name of the learner who hands it in.
    code : str
        Python; defines `target`.
    says : str
        A pattern that the feedback on `target` matches.
    points : int
        Of `target`, which is worth 2.
    status : str
        Of `target`.
    bystander : int
        Points of `bystander`, which is worth 1.
    tells : str
        The witness that would tell of a success: `secret`, `file`, `kept`, `core`, `tcp`, `udp`,
        `unix`, `abstract`, `neighbour` or `process`.
    provable : bool
        Whether it is safe to run without isolation, where the witness has to tell of it.
    differs : mapping of str to mapping
        What is otherwise in one kind of isolation, and under `why` the reason.
    """

    name: str
    code: str
    says: str = ""
    points: int = 0
    status: str = "graded"
    bystander: int = 1
    tells: str = ""
    provable: bool = False
    differs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def under(self, isolation: str) -> Attack:
        """Return the attack with what is expected of it in this kind of isolation."""
        other = {k: v for k, v in self.differs.get(isolation, {}).items() if k != "why"}
        return replace(self, **other)


@dataclass(frozen=True)
class Scene:
    """What an attack knows: the best informed learner that there could be."""

    SECRET_FILE: str
    EXERCISE_FILE: str
    COURSE: str
    HOME: str
    OUTSIDE: str
    MARK: str
    TCP: int
    UDP: int
    UNIX: str
    ABSTRACT: str
    NEIGHBOUR: int
    ADDRESS: int
    CALLS: Mapping[str, int]


def submission(attack: Attack, scene: Scene) -> str:
    """Return the file that is handed in."""
    known = {"NAME": attack.name, **vars(scene)}
    head = "".join(f"{name} = {value!r}\n" for name, value in known.items() if name in attack.code)
    rest = "" if "def bystander" in attack.code else BYSTANDER
    return f"{head}\n{dedent(attack.code).strip()}\n\n{rest}"


def table(*attacks: Attack) -> tuple[Attack, ...]:
    """Return the attacks of a family; two of one name are refused."""
    names = [attack.name for attack in attacks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two attacks are called {' and '.join(sorted(twice))}")
    return attacks
