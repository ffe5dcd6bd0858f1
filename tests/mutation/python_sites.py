"""Where Python code can be altered: comparisons, constants, roundings, signs, order of bounds.

Found in the syntax tree, changed in the text: a comment or a line break around the place stays as it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mutant import Edit, Mutant, named

COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mod: ("%", "//"),
    ast.Div: ("/", "*"),
}
EXACT = "__import__('dydx_perf.exact.{0}', fromlist=['*']).{1}"
ROUNDINGS = {
    "arith": {
        "div_floor": ("div_ceil", "div_trunc"),
        "div_ceil": ("div_floor", "div_trunc"),
        "div_trunc": ("div_floor", "div_ceil"),
        "mul_ppm_floor": ("mul_ppm_ceil",),
        "mul_ppm_ceil": ("mul_ppm_floor",),
        "mul_pow10_floor": ("mul_pow10_ceil", "mul_pow10_trunc"),
        "mul_pow10_ceil": ("mul_pow10_floor", "mul_pow10_trunc"),
        "mul_pow10_trunc": ("mul_pow10_floor", "mul_pow10_ceil"),
    },
    "decimals": {"add": ("subtract",), "subtract": ("add",), "divide_half_up_20": ("multiply",)},
    "margin": {
        "is_initial_collateralized": ("is_maintenance_collateralized",),
        "is_maintenance_collateralized": ("is_initial_collateralized",),
    },
}
NAMES = {
    "min": ("max",),
    "max": ("min",),
    "ceil": ("__import__('math').floor",),
    "abs": ("",),  # leaves the brackets
}
METHODS = ("copy_negate", "copy_abs")
#: keywords whose flag decides no figure
IDLE_KEYWORDS = {"strict"}


def python_mutants(source: str, file: str) -> list[Mutant]:
    """Return all mutants of a module."""
    return named(source, file, _Sites(source).found(ast.parse(source)))


class _Sites:
    def __init__(self, source: str) -> None:
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def start(self, node: ast.expr) -> int:
        line = self.source[self.starts[node.lineno - 1] :]
        return self.starts[node.lineno - 1] + len(line.encode()[: node.col_offset].decode())

    def end(self, node: ast.expr) -> int:
        assert node.end_lineno is not None
        line = self.source[self.starts[node.end_lineno - 1] :]
        return self.starts[node.end_lineno - 1] + len(line.encode()[: node.end_col_offset].decode())

    def text(self, node: ast.expr) -> str:
        return self.source[self.start(node) : self.end(node)]

    def between(
        self, left: ast.expr, right: ast.expr, operator: str, texts: tuple[str, ...]
    ) -> Iterator[Edit]:
        """Replace the operator that stands between two operands."""
        first, last = self.end(left), self.start(right)
        pattern = r"\s+".join(map(re.escape, operator.split()))
        if operator[0].isalpha():
            pattern = rf"\b{pattern}\b"
        gap = re.sub(r"#.*", lambda comment: " " * len(comment.group()), self.source[first:last])
        match = re.search(pattern, gap)
        assert match is not None, (operator, gap)
        for text in texts:
            yield Edit(first + match.start(), first + match.end(), text)

    def found(self, tree: ast.AST, function: str = "") -> Iterator[tuple[str, Edit]]:
        """All edits below a node, each with the function it is in."""
        for edit in self.edits(tree):
            yield function, edit
        for child in self.children(tree):
            inner = child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else function
            yield from self.found(child, inner)

    def children(self, node: ast.AST) -> Iterator[ast.AST]:
        """What decides a figure: no annotations, decorators, docstrings, keywords without effect."""
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(node, ast.keyword) and node.arg in IDLE_KEYWORDS:
                continue
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                continue  # a type alias
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield child

    def edits(self, node: ast.AST) -> Iterator[Edit]:
        """The edits of this node itself."""
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
                text, others = COMPARISONS[type(operator)]
                yield from self.between(left, right, text, others)
        elif isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.FloorDiv):
                text = f"-(-({self.text(node.left)}) // ({self.text(node.right)}))"
                yield Edit(self.start(node), self.end(node), f"({text})")
            elif type(node.op) in ARITHMETIC:
                operator, other = ARITHMETIC[type(node.op)]
                yield from self.between(node.left, node.right, operator, (other,))
        elif isinstance(node, ast.AugAssign):
            text = {ast.Add: "-=", ast.Sub: "+="}.get(type(node.op))
            if text is not None:
                yield from self.between(node.target, node.value, "+=" if text == "-=" else "-=", (text,))
        elif isinstance(node, ast.BoolOp):
            is_and = isinstance(node.op, ast.And)
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from self.between(left, right, "and" if is_and else "or", ("or" if is_and else "and",))
        elif isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.USub | ast.Not):
                length = 1 if isinstance(node.op, ast.USub) else len("not ")
                yield Edit(self.start(node), self.start(node) + length, "")
        elif isinstance(node, ast.Constant):
            yield from self.constant(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield from self.name(node)
        elif isinstance(node, ast.Call):
            yield from self.call(node)
        elif isinstance(node, ast.If | ast.IfExp | ast.While) and isinstance(
            node.test, ast.Name | ast.Attribute | ast.Call
        ):
            yield Edit(self.start(node.test), self.end(node.test), f"(not {self.text(node.test)})")

    def constant(self, node: ast.Constant) -> Iterator[Edit]:
        start, end = self.start(node), self.end(node)
        if isinstance(node.value, bool):
            yield Edit(start, end, str(not node.value))
        elif isinstance(node.value, int):
            yield Edit(start, end, str(node.value + 1))
            yield Edit(start, end, str(node.value - 1) if node.value else "(-1)")

    def name(self, node: ast.Name) -> Iterator[Edit]:
        for other in NAMES.get(node.id, ()):
            yield Edit(self.start(node), self.end(node), other)
        for module, roundings in ROUNDINGS.items():
            for other in roundings.get(node.id, ()):
                yield Edit(self.start(node), self.end(node), EXACT.format(module, other))

    def call(self, node: ast.Call) -> Iterator[Edit]:
        if isinstance(node.func, ast.Name) and node.func.id == "clamp":
            lower, upper = node.args[1:]
            swapped = f"{self.text(upper)}, {self.text(lower)}"
            yield Edit(self.start(lower), self.end(upper), swapped)
        elif isinstance(node.func, ast.Name) and node.func.id == "int":
            yield Edit(self.start(node.func), self.end(node.func), "__import__('math').floor")
        elif isinstance(node.func, ast.Attribute) and node.func.attr in METHODS and not node.args:
            yield Edit(self.end(node.func.value), self.end(node), "")
