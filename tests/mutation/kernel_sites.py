"""Where kernels can be altered: the tokens of C headers and of Cython definitions, function by function.

Left alone: comments, texts, types and casts, preprocessor conditions, sizes of arrays, bits of named enums
(they are names). A constant outside of functions is altered where its value is used as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mutant import Edit, Mutant, named

NUMBER = r"0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*(?:p[+-]?\d+)?[uUlL]*|\d+\.?\d*(?:[eE][+-]?\d+)?[uUlL]*"
OPERATOR = r"<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|//|\*\*|[^\s\w]"
C_TOKEN = re.compile(
    rf'(?P<skip>/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|^[ \t]*\#(?:\\\n|[^\n])*)'
    rf"|(?P<number>{NUMBER})|(?P<name>[A-Za-z_]\w*)|(?P<operator>{OPERATOR})",
    re.DOTALL | re.MULTILINE,
)
CYTHON_TOKEN = re.compile(
    r'(?P<skip>\#[^\n]*|""".*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    r"|<(?:const |unsigned )*[A-Za-z_]\w*(?: ?\*)*>(?=[\w(<&-]))"
    rf"|(?P<number>{NUMBER})|(?P<name>[A-Za-z_]\w*)|(?P<operator>{OPERATOR})",
    re.DOTALL,
)

OPERATORS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "&&": ("||",),
    "||": ("&&",),
    "+": ("-",),
    "-": ("+",),
    "+=": ("-=",),
    "-=": ("+=",),
    "%": ("/",),
    "<<": (">>",),
    ">>": ("<<",),
    "and": ("or",),
    "or": ("and",),
}
#: the other rounding, sum for difference; mut_* stand in roundings.h and roundings.pxd
C_NAMES = {
    "dp_div_floor": ("dp_div_ceil", "dp_div_trunc"),
    "dp_div_ceil": ("dp_div_floor", "dp_div_trunc"),
    "dp_div_trunc_u": ("mut_div_ceil_u",),
    "dp_div_ceil_u": ("dp_div_trunc_u",),
    "dp_million_floor": ("mut_million_ceil",),
    "dp_mul_ppm_ceil_64": ("mut_mul_ppm_floor_64",),
    "__builtin_add_overflow": ("__builtin_sub_overflow",),
    "__builtin_sub_overflow": ("__builtin_add_overflow",),
    "_CMP_LT_OQ": ("_CMP_LE_OQ", "_CMP_GE_OQ"),
    "_mm512_cmpgt_epi64_mask": ("_mm512_cmpge_epi64_mask", "_mm512_cmple_epi64_mask"),
    "_mm512_sub_epi64": ("_mm512_add_epi64",),
    "_mm512_mask_add_epi64": ("_mm512_mask_sub_epi64",),
    "_mm512_mask_sub_epi64": ("_mm512_mask_add_epi64",),
    "_mm512_and_si512": ("_mm512_or_si512",),
    "_mm512_or_si512": ("_mm512_and_si512",),
    "_mm512_xor_si512": ("_mm512_and_si512",),
    "_mm512_unpacklo_epi64": ("_mm512_unpackhi_epi64",),
    "_mm512_unpackhi_epi64": ("_mm512_unpacklo_epi64",),
    "_mm512_abs_epi64": ("",),
    "_mm512_abs_pd": ("",),
    "_mm256_sub_epi64": ("_mm256_add_epi64",),
    "_mm256_add_epi64": ("_mm256_sub_epi64",),
    "_mm256_add_epi32": ("_mm256_sub_epi32",),
    "_mm256_add_pd": ("_mm256_sub_pd",),
    "_mm256_sub_pd": ("_mm256_add_pd",),
    "_mm256_and_si256": ("_mm256_or_si256",),
    "_mm256_andnot_si256": ("_mm256_and_si256",),
    "_mm256_or_si256": ("_mm256_and_si256",),
    "_mm256_xor_si256": ("_mm256_and_si256",),
    "_mm256_and_pd": ("_mm256_or_pd",),
    "_mm256_andnot_pd": ("_mm256_and_pd",),
    "_mm256_unpacklo_epi64": ("_mm256_unpackhi_epi64",),
    "_mm256_unpackhi_epi64": ("_mm256_unpacklo_epi64",),
    "fabs": ("",),
    "add_one_512": ("subtract_one_512",),
    "subtract_one_512": ("add_one_512",),
}
CYTHON_NAMES = {
    "add": ("mut_sub",),
    "sub": ("mut_add",),
    "add_256": ("mut_sub_256",),
    "sub_256": ("mut_add_256",),
    "div_floor": ("mut_div_ceil", "mut_div_trunc"),
    "div_positive_floor": ("mut_div_ceil", "mut_div_trunc"),
    "div_ceil": ("mut_div_floor", "mut_div_trunc"),
    "div_positive_ceil": ("mut_div_floor", "mut_div_trunc"),
    "div_trunc": ("mut_div_floor", "mut_div_ceil"),
    "div_trunc_u": ("mut_div_ceil_u",),
    "million_floor": ("mut_million_ceil",),
    "mul_ppm_ceil": ("mut_mul_ppm_floor_u",),
    "mul_ppm_floor": ("mut_mul_ppm_ceil_signed",),
    "mul_ppm_ceil_64": ("mut_mul_ppm_floor_64",),
    "mul_pow10_trunc": ("mut_mul_pow10_ceil_u",),
    "mul_pow10_floor": ("mut_mul_pow10_ceil",),
    "mul_pow10_ceil": ("mut_mul_pow10_floor",),
    "mul_div_floor": ("mut_mul_div_ceil",),
    "scale_trunc": ("mut_scale_ceil",),
    "settlement_floor": ("mut_million_ceil",),
    "round_to_multiple_floor": ("mut_round_to_multiple_ceil",),
    "magnitude": ("",),
    "True": ("False",),
    "False": ("True",),
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a kernel source: [start, end) with its header, which ends at `body`."""

    name: str
    parameters: tuple[str, ...]
    start: int
    body: int
    end: int
    name_at: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A named value outside of functions: [start, end) is its text."""

    name: str
    start: int
    end: int


def parameter_names(text: str) -> tuple[str, ...]:
    """Names of the parameters of a C or Cython function."""
    found = []
    for part in text.split(","):
        part = re.sub(r"\[[^\]]*\]", "", part).strip()
        if part and part != "void":
            match = re.search(r"(\w+)\Z", part)
            assert match is not None, text
            found.append(match.group(1))
    return tuple(found)


def c_functions(source: str) -> list[Function]:
    """Functions with a body, in order."""
    found = []
    depth = 0
    head = 0  # where the declaration at hand begins
    before: list[re.Match[str]] = []
    opened: Function | None = None
    for token in C_TOKEN.finditer(source):
        text = token.group()
        if token.lastgroup == "skip":
            if depth == 0 and not before:
                head = token.end()
            continue
        if text == "{":
            if depth == 0 and before and before[-1].group() == ")":
                opened = _c_header(source, before, head)
            depth += 1
        elif text == "}":
            depth -= 1
            if depth == 0:
                if opened is not None:
                    found.append(
                        Function(
                            opened.name,
                            opened.parameters,
                            opened.start,
                            opened.body,
                            token.end(),
                            opened.name_at,
                        )
                    )
                    head = token.end()
                    before = []
                opened = None
        elif depth == 0 and text == ";":
            head, before = token.end(), []
        elif depth == 0:
            if not before:
                head = token.start()
            before.append(token)
    return found


def _c_header(source: str, tokens: list[re.Match[str]], head: int) -> Function:
    closing = tokens[-1]
    level = 0
    for place in range(len(tokens) - 1, -1, -1):
        level += {")": 1, "(": -1}.get(tokens[place].group(), 0)
        if level == 0:
            break
    opening, name = tokens[place], tokens[place - 1]
    parameters = parameter_names(source[opening.end() : closing.start()])
    return Function(name.group(), parameters, head, closing.end(), closing.end(), name.start())


CYTHON_FUNCTION = re.compile(
    r"^cdef inline [^\n(]*?\b(?P<name>\w+)\((?P<parameters>[^)]*)\)(?P<tail>[^\n:]*):[ \t]*\n", re.MULTILINE
)


def cython_functions(source: str) -> list[Function]:
    """Inline functions, in order: each lasts to the next line without indentation."""
    found = []
    for match in CYTHON_FUNCTION.finditer(source):
        rest = re.compile(r"^\S", re.MULTILINE).search(source, match.end())
        end = rest.start() if rest else len(source)
        found.append(
            Function(
                match["name"],
                parameter_names(match["parameters"]),
                match.start(),
                match.end(),
                end,
                match.start("name"),
            )
        )
    return found


DEFINE = re.compile(
    r"^[ \t]*#define[ \t]+(?P<name>\w+)[ \t]+(?P<value>[^\n\\]*?)[ \t]*(?:/\*[^\n]*)?$", re.MULTILINE
)
TABLE = re.compile(r"^static const \w+ (?P<name>\w+)\[\d+\] = \{(?P<value>[^}]*)\};", re.MULTILINE)
ENUM = re.compile(r"^cdef enum:\n(?P<body>(?:(?:    [^\n]*)?\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    (?P<name>[A-Z]\w*) = (?P<value>[^#\n]*?)[ \t]*(?:#[^\n]*)?$", re.MULTILINE)
VALUE = re.compile(r"[\s\w().<>~+*-]*\d[\s\w().<>~+*-]*")


def constants(source: str) -> list[Constant]:
    """Macros with a value, entries of enums without a name; not those that size an array."""
    found = [match for match in DEFINE.finditer(source) if VALUE.fullmatch(match["value"])]
    for enum in ENUM.finditer(source):
        found += ENTRY.finditer(source, enum.start("body"), enum.end("body"))
    sizes = set(re.findall(r"\[([A-Z]\w*)\]", source))
    return [Constant(m["name"], *m.span("value")) for m in found if m["name"] not in sizes]


def tables(source: str) -> list[Constant]:
    """Constant arrays outside of functions."""
    return [Constant(match["name"], *match.span("value")) for match in TABLE.finditer(source)]


OUT = re.compile(r"^ +cdef \w+ (?P<name>\w+) = (?P<value>0|False)\n", re.MULTILINE)


def void_values(source: str) -> set[int]:
    """Where zeros stand that nobody reads: a variable that goes to a function as its out pointer first.

    A kernel writes through the pointer or says that it did not, and then nothing goes on.
    """
    found = set()
    for match in OUT.finditer(source):
        use = re.search(rf"(?P<before>\S?)\b{match['name']}\b", source[match.end() :])
        if use is not None and use["before"] == "&":
            found.add(match.start("value"))
    return found


def kernel_mutants(source: str, file: str) -> list[Mutant]:
    """Return all mutants of a C header or of Cython definitions."""
    is_c = file.endswith(".h")
    void = set() if is_c else void_values(source)
    pairs = []
    for function in c_functions(source) if is_c else cython_functions(source):
        edits = _edits(source, function.body, function.end, C_TOKEN if is_c else CYTHON_TOKEN)
        names = C_NAMES if is_c else CYTHON_NAMES
        pairs += [(function.name, edit) for edit in _checked(source, edits, names) if edit.start not in void]
    for constant in [*constants(source), *tables(source)]:
        edits = _edits(source, constant.start, constant.end, C_TOKEN if is_c else CYTHON_TOKEN)
        pairs += [("", edit) for edit in _checked(source, edits, {})]
    return named(source, file, pairs)


def _checked(
    source: str, edits: Iterator[tuple[Edit, str]], names: dict[str, tuple[str, ...]]
) -> Iterator[Edit]:
    for edit, kind in edits:
        if kind == "name":
            for other in names.get(source[edit.start : edit.end], ()):
                yield Edit(edit.start, edit.end, other)
        else:
            yield edit


def _edits(source: str, start: int, end: int, pattern: re.Pattern[str]) -> Iterator[tuple[Edit, str]]:
    for token in pattern.finditer(source, start, end):
        text, first, last = token.group(), token.start(), token.end()
        if token.lastgroup == "number":
            if source[last : last + 1] == "]" and source[first - 1] == "[":
                continue  # the size of an array
            for other in _numbers(text):
                yield Edit(first, last, other), "number"
        elif token.lastgroup == "operator" or text in ("and", "or"):
            if text in "<>" and not (source[first - 1].isspace() and source[last].isspace()):
                continue  # a type in angle brackets
            for other in OPERATORS.get(text, ()):
                yield Edit(first, last, other), "operator"
        elif token.lastgroup == "name":
            yield Edit(first, last, ""), "name"


def _numbers(text: str) -> Iterator[str]:
    """Neighbours of a literal; of a power of two the power's."""
    match = re.fullmatch(r"(.*?)([uUlL]*)", text)
    assert match is not None
    digits, suffix = match.groups()
    power = re.fullmatch(r"(0[xX][0-9a-fA-F.]+p)(\d+)", digits)
    decimal = re.fullmatch(r"(\d+)e(-?\d+)", digits)
    if power:
        yield f"{power[1]}{int(power[2]) + 1}"
        yield f"{power[1]}{int(power[2]) - 1}"
    elif decimal:
        yield f"{decimal[1]}e{int(decimal[2]) + 1}"
        yield f"{decimal[1]}e{int(decimal[2]) - 1}"
    elif "." in digits:
        yield f"({digits} + 1)"
        yield f"({digits} - 1)"
    else:
        value = int(digits, 0)
        in_hex = digits[:2].lower() == "0x"
        yield f"{value + 1:#x}{suffix}" if in_hex else f"{value + 1}{suffix}"
        below = f"{value - 1:#x}{suffix}" if in_hex else f"{value - 1}{suffix}"
        yield below if value else "(-1)"
