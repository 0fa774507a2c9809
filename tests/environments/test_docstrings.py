"""Docstrings of the three styles describe a tool and its arguments, and nothing of their markup reaches the model."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from ttsi.environments.docstrings import argument_texts, first_paragraph
from ttsi.environments.functions import function_tool


def google(city: str, days: int = 1) -> str:
    """Look up the weather,
    as it will be.

    It may be wrong.

    Args:
        city: the city
            and its country
        days (int, optional): how many: 1 unless it is given

    Returns:
        days: no argument
    """
    return city * days


def numpy(city: str, days: int = 1) -> str:
    """Look up the weather,
    as it will be.

    It may be wrong.

    Parameters
    ----------
    city : str
        the city
        and its country
    days : int, optional
        how many: 1 unless it is given

    Returns
    -------
    days : str
        no argument
    """
    return city * days


def sphinx(city: str, days: int = 1) -> str:
    """Look up the weather,
    as it will be.
    :param city: the city
        and its country
    :type city: str
    :param int days: how many: 1 unless it is given
    :returns: a text

    It may be wrong.
    """
    return city * days


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_every_style_describes_a_tool_and_its_arguments(function: Any) -> None:
    tool = function_tool(function)
    assert tool.description == "Look up the weather, as it will be."
    texts = {name: schema["description"] for name, schema in tool.parameters["properties"].items()}
    assert texts == {"city": "the city and its country", "days": "how many: 1 unless it is given"}


@pytest.mark.parametrize(
    "text",
    [
        "Add.\n:class:`Money` is added\nto it.",
        "Add.\n: odd\n- city: no field",
        "Add.\n\nParameters are city and days.\n\ncity: no section",
        "Add.\n\nThe city\n--------\ncity : str\n    another heading",
        "Add.\n\nReturns:\n    city: the result",
        "",
    ],
)
def test_control_other_text_describes_no_argument(text: str) -> None:
    assert argument_texts(text) == {}
    assert first_paragraph(text) == " ".join(text.partition("\n\n")[0].split())


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("Args:\n    a: one\n\n    Both are numbers.\n    b: two", {"a": "one", "b": "two"}),
        ("Args:\n    a (dict(str, int)): one\n    **b: two", {"a": "one", "b": "two"}),
        (
            "Add.\n\nParameters\n----------\na, b : int\n    a number\n*c\n    more",
            dict.fromkeys("ab", "a number") | {"c": "more"},
        ),
        ("Parameters\n----------\na\n    one\n\nNotes\n-----\nb\n    no argument", {"a": "one"}),
        (":param dict[str, int] a: one\n:raises KeyError: never\n    b: no\n:keyword b: two", {"a": "one", "b": "two"}),
        (":param a: one\nline\n\nA new paragraph.", {"a": "one line"}),
    ],
)
def test_odd_entries_do_no_harm_to_the_others(text: str, texts: dict[str, str]) -> None:
    assert argument_texts(text) == texts


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Args:\n    a: one", ""),
        (":param a: one", ""),
        ("Parameters\n----------\na\n    one", ""),
        ("Add.\nArgs:\n    a: one", "Add."),
        ("Add.\nReturns:\n    the sum", "Add."),
        ("Returns: the sum.", "Returns: the sum."),
        ("Sum\n===\n\nMore.", "Sum"),
    ],
)
def test_a_description_ends_where_the_arguments_begin(text: str, line: str) -> None:
    assert first_paragraph(text) == line


def test_a_docstring_comes_before_the_text_of_an_annotation() -> None:
    def add(a: Annotated[int, "in metres"], b: Annotated[int, "in feet"]) -> int:
        """Add.

        :param b: in inches
        """
        return a + b

    properties = function_tool(add).parameters["properties"]
    assert {name: schema["description"] for name, schema in properties.items()} == {"a": "in metres", "b": "in inches"}
