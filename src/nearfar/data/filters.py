"""Conditions on the columns of a table, as users write them: `split == "test" and not label in ["rose", "lily"]`.

The text is parsed as a Python expression of which a few forms are understood; none of it is ever run.
"""

import ast
import difflib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.values import plain
from nearfar.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("equal", "equal"),
    ast.NotEq: ("not_equal", "not_equal"),
    ast.Lt: ("less", "greater"),
    ast.LtE: ("less_equal", "greater_equal"),
    ast.Gt: ("greater", "less"),
    ast.GtE: ("greater_equal", "less_equal"),
}
"""Names of functions of Arrow, and those for the two sides changed."""
_LONGEST = 2000
_FORMS = 'such as split == "test", price < 3, label in ["a", "b"], "word" in text, label is None, and, or, not'


def matching(table: "pa.Table", condition: str) -> NDArray[np.bool_]:
    """Which rows [N] of a table meet the condition; where a cell is missing, a comparison with it is not met.

    Columns are named as they are, or by `column("my column")`. Raises ConfigError for what is not understood, and for
    columns that there are not, with the nearest name that there is.
    """
    if len(condition) > _LONGEST:
        raise ConfigError(f"The condition has {len(condition)} characters; at most {_LONGEST} are read.")
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ConfigError(f"The condition {condition!r} is not understood{where}: write it {_FORMS}.") from None
    met = _Reader(table, condition).mask(tree)
    found: NDArray[np.bool_] = met.fill_null(False).to_numpy(zero_copy_only=False)
    return found


class _Reader:
    """A condition that is read over a table."""

    def __init__(self, table: "pa.Table", condition: str) -> None:
        self.table = table
        self.condition = condition

    def mask(self, node: ast.expr) -> Any:
        """The rows that meet a part of the condition, as booleans that may be null."""
        import pyarrow.compute as pc

        match node:
            case ast.BoolOp():
                join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
                first, *others = map(self.mask, node.values)
                for other in others:
                    first = join(first, other)
                return first
            case ast.UnaryOp(op=ast.Not()):
                return pc.invert(self.mask(node.operand).fill_null(False))
            case ast.Compare():
                sides = [node.left, *node.comparators]
                parts = [self.compared(a, op, b) for a, op, b in zip(sides, node.ops, sides[1:], strict=False)]
                found = parts[0]
                for part in parts[1:]:
                    found = pc.and_kleene(found, part)
                return found
            case ast.Name() | ast.Call():
                return self.truth(node)
        raise self.wrong(node)

    def compared(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        """One comparison."""
        import pyarrow.compute as pc

        if isinstance(operator, ast.In | ast.NotIn):
            found = self.within(left, right)
            return found if isinstance(operator, ast.In) else pc.invert(found.fill_null(False))
        missing = isinstance(right, ast.Constant) and right.value is None
        if isinstance(operator, ast.Is | ast.IsNot) or (missing and isinstance(operator, ast.Eq | ast.NotEq)):
            if not missing:
                raise self.wrong(right)
            found = pc.is_null(self.column(left), nan_is_null=True)
            return found if isinstance(operator, ast.Is | ast.Eq) else pc.invert(found)
        names = _COMPARISONS[type(operator)]
        if self.is_column(left) and self.is_column(right):
            return self.run(names[0], self.column(left), self.column(right))
        if self.is_column(left):
            return self.run(names[0], cells := self.column(left), self.scalar(right, left, cells.type))
        if self.is_column(right):
            return self.run(names[1], cells := self.column(right), self.scalar(left, right, cells.type))
        raise self.wrong(left)

    def within(self, left: ast.expr, right: ast.expr) -> Any:
        """Cells that are one of a list, or texts that hold a word."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            cells = self.column(left)
            values = [self.scalar(value, left, cells.type).as_py() for value in right.elts]
            return pc.is_in(cells, value_set=pa.array(values, cells.type))
        if self.is_column(right) and isinstance(left, ast.Constant) and isinstance(left.value, str):
            cells = self.column(right)
            if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
                raise ConfigError(f"The column {self.name(right)!r} holds {cells.type}: only texts can hold a word.")
            return pc.match_substring(cells, left.value, ignore_case=True)
        raise self.wrong(right)

    def truth(self, node: ast.expr) -> Any:
        """A column of booleans as a condition of its own."""
        import pyarrow as pa

        cells = self.column(node)
        if not pa.types.is_boolean(cells.type):
            raise ConfigError(
                f"The column {self.name(node)!r} holds {cells.type}, which is no condition alone: compare it."
            )
        return cells

    def scalar(self, node: ast.expr, column: ast.expr, kind: Any) -> Any:
        """A value as the column has them; raises ConfigError where it is of another kind."""
        import pyarrow as pa

        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            if isinstance(node, ast.Name):
                raise ConfigError(
                    f"In the condition {self.condition!r}, {node.id!r} stands for a value: put texts in quotes."
                ) from None
            raise self.wrong(node) from None
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        fits = {str: not numeric and not pa.types.is_boolean(kind), bool: pa.types.is_boolean(kind)}
        if fits.get(type(value), numeric) and (not textual or isinstance(value, str)):
            try:
                if numeric and not isinstance(value, str):
                    return pa.scalar(value)  # 2.5 is compared with whole numbers as it is
                return pa.scalar(value).cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError):
                pass
        holds = "texts" if textual else str(kind)
        hint = f": write {str(value)!r} in quotes" if textual else ""
        raise ConfigError(f"The column {self.name(column)!r} holds {holds}, {value!r} is something else{hint}.")

    def column(self, node: ast.expr) -> Any:
        """A column by its name; raises ConfigError."""

        name = self.name(node)
        if name not in self.table.column_names:
            names = self.table.column_names
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(map(repr, names)) or 'none'}."
            quote = " A text stands in quotes." if isinstance(node, ast.Name) and not close else ""
            raise ConfigError(f"There is no column {name!r}. {hint}{quote}")
        return plain(self.table[name].combine_chunks())

    def is_column(self, node: ast.expr) -> bool:
        """Whether a part of the condition names a column."""
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "column"
        return called or isinstance(node, ast.Name)

    def name(self, node: ast.expr) -> str:
        """The name of the column that a part of the condition is."""
        match node:
            case ast.Name():
                return node.id
            case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))], keywords=[]):
                return name
        raise self.wrong(node)

    def run(self, name: str, *sides: Any) -> Any:
        """A comparison by Arrow; raises ConfigError where the kinds cannot be compared."""
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            return pc.call_function(name, list(sides))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigError(f"The condition {self.condition!r} cannot be met: {str(error)[:200]}.") from None

    def wrong(self, node: ast.expr) -> ConfigError:
        """The error for a part that is not understood."""
        part = ast.get_source_segment(self.condition.strip(), node) or self.condition
        return ConfigError(f"In the condition {self.condition!r}, {part!r} is not understood: write it {_FORMS}.")
