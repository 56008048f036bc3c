"""Relations between columns, as in `casual + registered = total`: read once, refused early."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_COMPARISON: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS = {"abs": 1, "round": 2, "least": 2, "greatest": 2, "divide": 2}
"""Functions and how many arguments they take; divide is what `/` calls."""


@dataclass(frozen=True)
class Relation:
    """A condition on the columns of one record, or a value that follows from them."""

    text: str
    """As a person wrote it."""
    columns: tuple[str, ...]
    """Columns that it names."""
    _tree: ast.AST

    def build(
        self, columns: Mapping[str, Any], literal: Callable[[Any], Any], functions: Mapping[str, Callable[..., Any]]
    ) -> Any:
        """The condition over objects that know the usual operators, as Spark's columns and NumPy's arrays do."""

        def value(node: ast.AST) -> Any:
            if isinstance(node, ast.BoolOp):
                join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
                return reduce(join, map(value, node.values))
            if isinstance(node, ast.UnaryOp):
                found = value(node.operand)
                return ~found if isinstance(node.op, ast.Not) else -found
            if isinstance(node, ast.Compare):
                sides = [value(side) for side in (node.left, *node.comparators)]
                pairs = zip(sides, node.ops, sides[1:])
                return reduce(operator.and_, [_COMPARISON[type(op)](a, b) for a, op, b in pairs])
            if isinstance(node, ast.BinOp):
                left, right = value(node.left), value(node.right)
                if isinstance(node.op, ast.Div):
                    return functions["divide"](left, right)
                return _ARITHMETIC[type(node.op)](left, right)
            if isinstance(node, ast.Call):
                return functions[_called(node)](*map(value, node.args))
            if isinstance(node, ast.Name):
                return columns[node.id]
            assert isinstance(node, ast.Constant)
            return literal(node.value)

        return value(self._tree)


def read_relation(text: str) -> Relation:
    """Reads comparisons of arithmetic over columns, joined by and, or, not; raises ValueError saying what is wrong.

    Allowed: names, numbers, 'texts', + - * /, = <> < <= > >=, abs, round, least, greatest, brackets.
    """
    spelt = re.sub(r"(?<![<>=!])=(?!=)", "==", text.replace("<>", "!="))
    try:
        tree = ast.parse(spelt.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"'{text}' is not a relation, as in casual + registered = total") from None
    _check(tree, text, condition=True)
    columns = tuple(dict.fromkeys(_names(tree)))
    if not columns:
        raise ValueError(f"'{text}' names no column")
    return Relation(text, columns, tree)


def read_formula(text: str) -> Relation:
    """Reads arithmetic over columns, as in `torque * speed`; raises ValueError saying what is wrong."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"'{text}' is not a formula, as in torque * speed") from None
    _check(tree, text, condition=False)
    columns = tuple(dict.fromkeys(_names(tree)))
    if not columns or any(isinstance(node, ast.Constant) and isinstance(node.value, str) for node in ast.walk(tree)):
        raise ValueError(f"'{text}' is not a formula over columns, as in torque * speed")
    return Relation(text, columns, tree)


def _check(node: ast.AST, text: str, *, condition: bool) -> None:
    """Raises ValueError for anything but conditions where conditions belong, and values where values belong."""
    inner: list[tuple[ast.AST, bool]]
    if isinstance(node, ast.BoolOp) and condition:
        inner = [(value, True) for value in node.values]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and condition:
        inner = [(node.operand, True)]
    elif isinstance(node, ast.Compare) and condition and all(type(op) in _COMPARISON for op in node.ops):
        inner = [(side, False) for side in (node.left, *node.comparators)]
    elif condition:
        raise ValueError(f"'{text}' compares nothing: write a relation, as in casual + registered = total")
    elif isinstance(node, ast.BinOp) and (type(node.op) in _ARITHMETIC or isinstance(node.op, ast.Div)):
        inner = [(node.left, False), (node.right, False)]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = [(node.operand, False)]
    elif isinstance(node, ast.Call) and not node.keywords and FUNCTIONS.get(_called(node)) == len(node.args):
        inner = [(argument, False) for argument in node.args]
    elif isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and type(node.value) in (int, float, str)):
        inner = []
    else:
        known = ", ".join(name for name in FUNCTIONS if name != "divide")
        raise ValueError(f"'{text}' has what a relation may not have: use columns, numbers, + - * /, {known}")
    for child, as_condition in inner:
        _check(child, text, condition=as_condition)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _names(tree: ast.AST) -> Iterator[str]:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    yield from (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called)
