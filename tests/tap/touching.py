"""Counts the bytes a module looks at or copies: work that is measured without a clock.

`counting(module)` loads a module again with every method call on bytes, slice, sum and `in` reported to a Touched.
What is counted is an upper bound: a failed match counts as if it had read everything it might have.
"""

from __future__ import annotations

import ast
import operator
import re
from pathlib import Path
from types import ModuleType
from typing import Any

_TESTS = {"startswith", "endswith"}
_FINDS = {"find", "index"}


class Touched:
    """How much was touched so far: bytes, and one for each operation."""

    def __init__(self) -> None:
        self.total = 0

    def call(self, on: Any, name: str, *given: Any, **named: Any) -> Any:
        result = getattr(on, name)(*given, **named)
        self.total += 1
        if isinstance(on, bytes | bytearray):
            self.total += self._of_bytes(on, name, given, result)
        elif isinstance(on, re.Pattern):
            start = given[1] if len(given) > 1 else 0
            end = given[2] if len(given) > 2 else len(given[0])
            is_prefix = name == "match" and result is not None
            self.total += (result.end() if is_prefix else end) - start
        return result

    @staticmethod
    def _of_bytes(on: bytes | bytearray, name: str, given: tuple[Any, ...], result: Any) -> int:
        if name in _TESTS:
            return min(len(on), max(map(len, given[0])) if isinstance(given[0], tuple) else len(given[0]))
        if name in _FINDS:
            start = given[1] if len(given) > 1 else 0
            return (len(on) if result < 0 else result + len(given[0])) - min(start, len(on))
        return len(result) if name == "join" else len(on)

    def contains(self, part: Any, whole: Any) -> bool:
        self.total += 1 + (len(whole) if isinstance(whole, bytes | bytearray) else 0)
        return part in whole

    def add(self, left: Any, right: Any) -> Any:
        result = left + right
        self.total += 1 + (len(result) if isinstance(result, bytes | bytearray) else 0)
        return result

    def add_to(self, left: Any, right: Any) -> Any:
        is_copied = isinstance(left, bytes)
        result = operator.iadd(left, right)
        self.total += 1 + (len(result) if is_copied else len(right) if isinstance(right, bytes) else 0)
        return result

    def get(self, whole: Any, part: Any) -> Any:
        result = whole[part]
        self.total += 1 + (len(result) if isinstance(result, bytes | bytearray) else 0)
        return result

    def copied(self, whole: Any) -> bytes:
        self.total += len(whole)
        return bytes(whole)


class _Reporting(ast.NodeTransformer):
    """The same program, with its work reported."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        func = node.func
        if isinstance(func, ast.Attribute) and not (isinstance(func.value, ast.Call) and _named(func.value, "super")):
            given = [func.value, ast.Constant(func.attr), *node.args]
            return _reported(node, "call", given, node.keywords)
        return _reported(node, "copied", node.args) if _named(node, "bytes") and node.args else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.In | ast.NotIn):
            return node
        found = _reported(node, "contains", [node.left, node.comparators[0]])
        if isinstance(node.ops[0], ast.In):
            return found
        return ast.copy_location(ast.UnaryOp(ast.Not(), found), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _reported(node, "add", [node.left, node.right]) if isinstance(node.op, ast.Add) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Add) or isinstance(node.target, ast.Subscript):
            return node
        before = ast.parse(ast.unparse(node.target), mode="eval").body
        return ast.copy_location(ast.Assign([node.target], _reported(node, "add_to", [before, node.value])), node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or not isinstance(node.slice, ast.Slice):
            return node
        ends = [each or ast.Constant(None) for each in (node.slice.lower, node.slice.upper, node.slice.step)]
        part = ast.Call(ast.Name("slice", ast.Load()), ends, [])
        return _reported(node, "get", [node.value, part])


def _named(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def _reported(node: ast.expr | ast.stmt, what: str, given: list[ast.expr], named: Any = ()) -> ast.Call:
    meter = ast.Attribute(ast.Name("_touched", ast.Load()), what, ast.Load())
    return ast.copy_location(ast.Call(meter, given, list(named)), node)


def counting(module: ModuleType) -> tuple[Any, Touched]:
    """A module once more, counting; and its count."""
    touched, again = Touched(), ModuleType(module.__name__)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            _Reporting().visit(node)
    vars(again)["_touched"] = touched
    exec(compile(ast.fix_missing_locations(tree), str(module.__file__), "exec"), vars(again))  # noqa: S102
    return again, touched
