"""What a .wasm file imports and exports, read from its bytes: before it is compiled, and whatever else it holds.

Only what is needed to recognise a plugin and to tell a person about it; wasmtime validates the module later. What this
does not know (types of newer proposals) is left out, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from logllm.errors import PluginLoadError
from logllm.filters.sections import CORE, Section, integer, kind_of, sections, take, text

__all__ = ["FLUENT_BIT", "Function", "Interface", "interface"]

_VALUES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}
_MOST = 100_000
_MOST_VALUES = 1_000


@dataclass(frozen=True, slots=True)
class Function:
    """A function's parameters and results, as `i32`, `i64`..."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


FLUENT_BIT = Function(("i32",) * 6, ("i32",))
"""Fluent Bit's: tag, its length, seconds, nanoseconds, record, its length; a pointer to the new record."""


@dataclass(slots=True)
class Interface:
    """A core module's or component's imports and exports.

    Args:
        component: Whether it is a component; then an import has no module.
        imports: Module and name of each import, in order.
        exports: Names in order; the signature of functions whose type is known, None of all else.
    """

    component: bool
    imports: list[tuple[str, str]] = field(default_factory=list)
    exports: dict[str, Function | None] = field(default_factory=dict)


def interface(code: bytes) -> Interface:
    """Read a core module or component.

    Raises:
        PluginLoadError: It is neither, or its sections are damaged.
    """
    if kind_of(code) == CORE:
        return _Core(code).read()
    return _component(code)


class _Core:
    def __init__(self, code: bytes) -> None:
        self._code = code
        self._found = Interface(component=False)
        self._types: list[Function | None] = []
        # The type of each function, imported ones first.
        self._functions: list[int] = []

    def read(self) -> Interface:
        readers = {1: self._read_types, 2: self._read_imports, 3: self._read_functions, 7: self._read_exports}
        for section in sections(self._code):
            reader = readers.get(section.kind)
            if reader is not None:
                reader(section)
        return self._found

    def _count(self, section: Section) -> tuple[int, int]:
        count, at = integer(self._code, section.content, section.end)
        if count > _MOST:
            raise PluginLoadError(f"it is damaged or absurd: {count} entries in a section")
        return count, at

    def _read_types(self, section: Section) -> None:
        count, at = self._count(section)
        for _ in range(count):
            # Anything but a plain function type: the numbers of what follows are not known either.
            if take(self._code, at, section.end) != 0x60:
                return
            params, at = self._values(at + 1, section.end)
            results, at = self._values(at, section.end)
            self._types.append(None if params is None or results is None else Function(params, results))

    def _values(self, at: int, end: int) -> tuple[tuple[str, ...] | None, int]:
        count, at = integer(self._code, at, end)
        if count > _MOST_VALUES:
            raise PluginLoadError(f"it is damaged: a function of {count} values")
        names: list[str] = []
        known = True
        for _ in range(count):
            byte = take(self._code, at, end)
            at += 1
            if byte in (0x63, 0x64):  # (ref null? heaptype): a type number or a negative code follows
                _, at = integer(self._code, at, end)
            known = known and byte in _VALUES
            names.append(_VALUES.get(byte, "?"))
        return (tuple(names) if known else None), at

    def _read_imports(self, section: Section) -> None:
        count, at = self._count(section)
        for _ in range(count):
            module, at = text(self._code, at, section.end)
            name, at = text(self._code, at, section.end)
            kind = take(self._code, at, section.end)
            self._found.imports.append((module, name))
            if kind == 0:
                number, at = integer(self._code, at + 1, section.end)
                self._functions.append(number)
            elif kind == 1:  # table: reference type, limits
                at = self._limits(at + 2, section.end)
            elif kind == 2:
                at = self._limits(at + 1, section.end)
            elif kind == 3:  # global: value type, mutability
                at += 3
            elif kind == 4:  # tag: attribute, type
                _, at = integer(self._code, at + 2, section.end)
            else:
                raise PluginLoadError(f"it is damaged: an import of kind {kind}")

    def _limits(self, at: int, end: int) -> int:
        flags = take(self._code, at, end)
        _, at = integer(self._code, at + 1, end)
        if flags & 1:
            _, at = integer(self._code, at, end)
        return at

    def _read_functions(self, section: Section) -> None:
        count, at = self._count(section)
        for _ in range(count):
            number, at = integer(self._code, at, section.end)
            self._functions.append(number)

    def _read_exports(self, section: Section) -> None:
        count, at = self._count(section)
        for _ in range(count):
            name, at = text(self._code, at, section.end)
            kind = take(self._code, at, section.end)
            number, at = integer(self._code, at + 1, section.end)
            self._found.exports[name] = self._signature(number) if kind == 0 else None

    def _signature(self, function: int) -> Function | None:
        number = self._functions[function] if function < len(self._functions) else len(self._types)
        return self._types[number] if number < len(self._types) else None


def _component(code: bytes) -> Interface:
    found = Interface(component=True)
    for section in sections(code):
        if section.kind == 10:
            for name in _names(code, section, with_description=True):
                found.imports.append(("", name))
        elif section.kind == 11:
            for name in _names(code, section, with_description=False):
                found.exports[name] = None
    return found


def _names(code: bytes, section: Section, *, with_description: bool) -> list[str]:
    """The names of an import or export section of a component, up to the first that is not understood."""
    count, at = integer(code, section.content, section.end)
    names: list[str] = []
    for _ in range(min(count, _MOST)):
        if take(code, at, section.end) not in (0x00, 0x01):
            break
        name, at = text(code, at + 1, section.end)
        names.append(name)
        if with_description:
            after = _description(code, at, section.end)
        else:
            sort = take(code, at, section.end)
            _, at = integer(code, at + (2 if sort == 0 else 1), section.end)
            typed = take(code, at, section.end)
            after = at + 1 if typed == 0 else _description(code, at + 1, section.end)
        if after is None:
            break
        at = after
    return names


def _description(code: bytes, at: int, end: int) -> int | None:
    """Where a description of an import's type ends; None where it is of a kind that is not known."""
    kind = take(code, at, end)
    if kind == 0x00:  # a core module: 0x11, type
        return integer(code, at + 2, end)[1]
    if kind in (0x01, 0x04, 0x05):  # function, component, instance: type
        return integer(code, at + 1, end)[1]
    if kind == 0x03:  # type: equal to a type, or a new resource
        return integer(code, at + 2, end)[1] if take(code, at + 1, end) == 0 else at + 2
    return None
