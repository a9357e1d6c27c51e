"""Defaults are an interface: figures of the README and results of users rest on them.
`defaults.txt` names those of all public functions and classes, of the options of all experiments,
and the numbers at the heads of modules; who changes one changes it there, too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def defaults_of(node: ast.AST) -> Iterator[str]:
    """Of a function its arguments' defaults, of a class its fields'."""
    pairs: list[tuple[str, ast.expr | None]] = []
    if isinstance(node, ast.FunctionDef):
        plain, keyword = node.args.posonlyargs + node.args.args, node.args.kwonlyargs
        last = plain[len(plain) - len(node.args.defaults) :]
        pairs += zip((a.arg for a in last), node.args.defaults, strict=True)
        pairs += zip((a.arg for a in keyword), node.args.kw_defaults, strict=True)
    elif isinstance(node, ast.ClassDef):
        fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
        pairs += [(ast.unparse(field.target), field.value) for field in fields]
    return (
        f"{name}={ast.unparse(value)}"
        for name, value in pairs
        if value is not None and not name.startswith("_") and ast.unparse(value) != "None"
    )


def numbers_of(body: list[ast.stmt]) -> Iterator[str]:
    """The constants of a module that are numbers, or made of them."""
    for node in body:
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, ast.expr):
            [name] = node.targets if isinstance(node, ast.Assign) else [node.target]
            leaves = [leaf.value for leaf in ast.walk(value) if isinstance(leaf, ast.Constant)]
            plain = not any(isinstance(leaf, ast.Name | ast.Call) for leaf in ast.walk(value))
            if leaves and plain and all(isinstance(leaf, int | float) for leaf in leaves):
                yield f"{ast.unparse(name)}={ast.unparse(value)}"


def lines_of(path: Path) -> Iterator[str]:
    """A line for the constants, and for each public function, class and method with defaults."""
    name = path.relative_to(ROOT).as_posix()
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    constants = ", ".join(numbers_of(body))
    if constants:
        yield f"{name}: {constants}"
    definitions = [(node, "") for node in body]
    for node, owner in definitions:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") and not node.name.startswith("__"):
            continue
        found = ", ".join(defaults_of(node))
        if found:
            yield f"{name} {owner}{node.name}: {found}"
        if isinstance(node, ast.ClassDef):
            definitions += [(inner, f"{node.name}.") for inner in node.body]


def test_defaults_are_those_that_are_written_down() -> None:
    files = [
        path
        for folder in ("attacks", "benchmarks/experiments", "bilevel", "defenses")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    found = [line for path in files for line in lines_of(path)]
    written = (ROOT / "tests" / "defaults.txt").read_text().splitlines()
    changed = [f"- {line}" for line in written if line not in found]
    changed += [f"+ {line}" for line in found if line not in written]
    assert not changed, "\n".join(["change tests/defaults.txt like this:", *changed])
