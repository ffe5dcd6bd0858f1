"""All kernel mutants in one build: each altered function stands beside the right one, and a switch chooses.

A build costs a minute, a trial milliseconds. The function `f` with mutants 7 and 8 becomes `f__0`, `f__7`,
`f__8` and an `f` that asks the variable `dp_mutant` which of them is meant; a constant becomes a choice of
values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kernel_sites import (
    ENTRY,
    ENUM,
    Constant,
    Function,
    c_functions,
    constants,
    cython_functions,
    tables,
)
from mutant import Edit, Mutant


def switched(source: str, file: str, mutants: Iterable[Mutant]) -> str:
    """The source with all these mutants in it, none of them on."""
    is_c = file.endswith(".h")
    mutants = list(mutants)
    if not mutants:
        return source
    edits = []
    for function in c_functions(source) if is_c else cython_functions(source):
        own = [m for m in mutants if function.body <= m.edit.start < function.end]
        if own:
            edits.append(Edit(function.start, function.end, _copies(source, function, own, is_c)))
    enums = {
        m["name"] for block in ENUM.finditer(source) for m in ENTRY.finditer(source, *block.span("body"))
    }
    for constant in constants(source):
        own = [m for m in mutants if constant.start <= m.edit.start < constant.end]
        if own and constant.name not in enums:
            edits.append(Edit(constant.start, constant.end, _choice(source, constant, own)))
    for block in [] if is_c else ENUM.finditer(source):
        edits.append(Edit(block.start(), block.end(), _extern_enum(source, block, mutants)))
    for table in tables(source):
        own = [m for m in mutants if table.start <= m.edit.start < table.end]
        if own:
            edits += _table_copies(source, table, own)
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        source = source[: edit.start] + edit.text + source[edit.end :]
    return _with_switch(source, is_c)


def _value(source: str, constant: Constant | Function, mutant: Mutant, start: int | None = None) -> str:
    """Text of a function or constant with the mutant in it."""
    first = constant.start if start is None else start
    text = source[first : constant.end]
    at = mutant.edit.start - first
    return text[:at] + mutant.edit.text + text[mutant.edit.end - first :]


def _copies(source: str, function: Function, mutants: list[Mutant], is_c: bool) -> str:
    header = source[function.start : function.body]
    at = function.name_at - function.start
    name, after = function.name, at + len(function.name)
    body = source[function.body : function.end].rstrip() + "\n"
    arguments = ", ".join(function.parameters)
    copies = [f"{header[:at]}{name}__0{header[after:]}{body}"]
    for mutant in mutants:
        altered = _value(source, function, mutant, function.body).rstrip() + "\n"
        copies.append(f"{header[:at]}{name}__{mutant.number}{header[after:]}{altered}")
    is_void = re.search(r"\bvoid\s*\Z", header[:at]) is not None
    choices = []
    for number in [*(mutant.number for mutant in mutants), 0]:
        call = f"{name}__{number}({arguments})"
        if is_c:
            label = f"case {number}" if number else "default"
            choices.append(f"    {label}: {f'{call}; return' if is_void else f'return {call}'};")
        else:
            choices.append(f"    if dp_mutant == {number}:" if number else "    if True:")
            choices += [f"        {call}", "        return"] if is_void else [f"        return {call}"]
    if is_c:
        chooser = "\n{\n    switch (dp_mutant) {\n" + "\n".join(choices) + "\n    }\n}\n"
        return "\n".join([*copies, header + chooser])
    return "\n\n".join([*copies, header + "\n".join(choices) + "\n\n\n"])


def _choice(source: str, constant: Constant, mutants: list[Mutant]) -> str:
    altered = "".join(f"dp_mutant == {m.number} ? ({_value(source, constant, m)}) : " for m in mutants)
    return f"({altered}({source[constant.start : constant.end]}))"


def _extern_enum(source: str, block: re.Match[str], mutants: list[Mutant]) -> str:
    """An anonymous enum of Cython as macros whose value the switch decides."""
    macros, entries = [], []
    for entry in ENTRY.finditer(source, *block.span("body")):
        constant = Constant(entry["name"], *entry.span("value"))
        own = [m for m in mutants if constant.start <= m.edit.start < constant.end]
        macros.append(f"    #define mut_{constant.name} {_choice(source, constant, own)}")
        entries.append(f'        {constant.name} "mut_{constant.name}"')
    lines = ["cdef extern from *:", '    """', *macros, '    """', "    enum:", *entries]
    return "\n".join(lines) + "\n\n"


def _table_copies(source: str, table: Constant, mutants: list[Mutant]) -> list[Edit]:
    declaration = source.rfind("\n", 0, table.start) + 1
    end = source.index("\n", table.end) + 1
    text = source[declaration:end]
    copies = [text.replace(table.name, f"{table.name}__0", 1)]
    for mutant in mutants:
        at = mutant.edit.start - declaration
        altered = text[:at] + mutant.edit.text + text[mutant.edit.end - declaration :]
        copies.append(altered.replace(table.name, f"{table.name}__{mutant.number}", 1))
    choice = "".join(f"dp_mutant == {m.number} ? {table.name}__{m.number} : " for m in mutants)
    copies.append(f"#define {table.name} ({choice}{table.name}__0)\n")
    return [Edit(declaration, end, "".join(copies))]


def _with_switch(source: str, is_c: bool) -> str:
    if is_c:
        at = source.index("#include")
        return source[:at] + '#include "dydx_perf/ext/roundings.h"\n' + source[at:]
    at = re.compile(r"^(?:from|cdef|cimport)\b", re.MULTILINE).search(source)
    assert at is not None
    names = sorted({"dp_mutant", *re.findall(r"\bmut_[a-z]\w*", source)})
    line = f"from dydx_perf.ext.roundings cimport {', '.join(names)}\n"
    if 'extern from "dydx_perf/ext/fixed.h"' in source:  # what roundings.pxd itself stands on
        line = 'cdef extern from "dydx_perf/ext/roundings.h" nogil:\n    int dp_mutant\n\n'
    return source[: at.start()] + line + source[at.start() :]
