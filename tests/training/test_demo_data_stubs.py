"""Stubs tell names, calls and docstrings."""

from crma_training.demo_data.python_code import summary, task
from crma_training.demo_data.stubs import Documented, read_stub, unique

STUB = '''
import sys
from typing import overload

def sqrt(x: float, /) -> float:
    """Return the square root of x."""

def _hidden() -> None:
    """Not for the public."""

def bare(x: int) -> int: ...

if sys.version_info >= (3, 12):
    def later(first, *rest, key=None) -> int:
        """Compute something newer than that."""

class Shape:
    """A shape with an area."""
    @property
    def area(self) -> float:
        """The area of the shape."""
    @classmethod
    def square(cls, side: float) -> "Shape":
        """Create a square with that side."""
'''


def test_reads_functions_methods_and_attributes() -> None:
    found = {item.name: item for item in read_stub("geo", STUB)}

    assert list(found) == ["geo.sqrt", "geo.later", "geo.Shape", "geo.Shape.area", "geo.Shape.square"]
    assert found["geo.sqrt"].call == "geo.sqrt(x)"
    assert found["geo.later"].call == "geo.later(first, *rest, key=...)"
    assert found["geo.Shape.square"].call == "geo.Shape.square(side)"
    assert not found["geo.Shape.area"].callable


def test_builtins_carry_no_module() -> None:
    assert read_stub("builtins", STUB)[0].name == "sqrt"


def test_twins_stand_once() -> None:
    one, twin = (Documented(name, name, "Do the same thing.", callable=True) for name in ("a.f", "b.f"))

    assert unique([one, one, twin]) == [one]


def test_a_summary_drops_a_signature_and_refuses_markup() -> None:
    signed = Documented("f", "f()", "f(x) -> int\n\nReturn the number of all parts.", callable=True)
    marked = Documented("g", "g()", "Return ``x`` as it stands here.", callable=True)

    assert summary(signed) == "Return the number of all parts."
    assert summary(marked) is None


def test_a_task_is_an_imperative_without_its_full_stop() -> None:
    assert task("Return the square root of x.") == "return the square root of x"
    assert task("The square root of some x.") is None
