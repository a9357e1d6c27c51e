"""What a name says holds: a value goes to the parameter, cell or variable of its own name and not
to that of another one beside it, and what a function is given or makes it uses. No linter sees
rows of another role, columns that are swapped, or a setting that is not passed on.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("attacks", "benchmarks", "bilevel", "defenses")
WRAPPERS = {"float", "int", "bool", "str", "list", "tuple", "asarray", "array"}
FIGURES = {"mean", "item", "sum", "tolist", "copy", "ravel"}
MEANT = {
    # A point that is both, at the start.
    ("attacks/domains/l1_ball.py", "start", "low"),
    ("bilevel/_maximize.py", "best", "z"),
    ("bilevel/solvers/constrained/_barrier.py", "anchor", "y"),
    ("bilevel/solvers/constrained/_kkt_solver.py", "residual", "total"),
    ("defenses/estimators/_tasks.py", "y", "target"),
    ("benchmarks/experiments/tuning/stochastic.py", "value", "w"),
    # As patient as there are steps: no early end.
    ("benchmarks/clean_label.py", "patience", "steps"),
    ("benchmarks/experiments/svm/svm_2d.py", "patience", "steps"),
    ("benchmarks/experiments/targeted/metapoison.py", "patience", "steps"),
    ("benchmarks/experiments/tuning/stochastic.py", "patience", "steps"),
    # One thing under two names.
    ("attacks/goals/disparity.py", "group", "groups"),
    ("attacks/triggers/added.py", "found", "shape"),
    ("attacks/triggers/patch.py", "found", "shape"),
    ("attacks/triggers/soft_patch.py", "found", "shape"),
    ("bilevel/_draws.py", "members", "keys"),
    ("bilevel/learners/on_features.py", "head", "model"),
    ("benchmarks/experiments/fairness/_defended.py", "passes", "seed"),
    ("benchmarks/experiments/model_defenses/_arena_attacks.py", "model", "clean"),
    ("benchmarks/experiments/model_defenses/fine_pruning.py", "model", "clean"),
    ("benchmarks/experiments/backdoors/toy_backdoor.py", "chosen", "rows"),
    ("benchmarks/experiments/defenses/_ridge_behind_trim.py", "plain", "model"),
    ("benchmarks/fuzz/defended.py", "labels", "y"),
    # It goes on under the other's name.
    ("defenses/estimators/trim.py", "trained", "keep"),
}
"""(file, parameter or cell, name of the value), where another parameter or cell has that name."""
WHOLE = {
    "Approach", "Hidden", "Budget", "Clipped", "Unlearned", "Pruned", "Outcome", "Adapted", "Curve",
}  # fmt: skip
"""Records with a field that is for users, or is only unpacked."""
PASSED_ON = {"data", "key", "world"}
"""What a method of an interface uses, too, or lets go of."""


@cache
def nodes() -> dict[type, list[tuple[str, Any]]]:
    """All nodes of all files by their kind. Each knows its parent."""
    found: defaultdict[type, list[tuple[str, Any]]] = defaultdict(list)
    for path in (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))):
        name = path.relative_to(ROOT).as_posix()
        left: list[Any] = [ast.parse(path.read_text())]
        while left:
            node = left.pop()
            found[type(node)].append((name, node))
            for child in ast.iter_child_nodes(node):
                if child._fields:  # not an operator, of which there is one for all
                    child.parent = node  # pyright: ignore
                    left.append(child)
    return found


def called(node: ast.expr) -> str | None:
    """The last name of a value: of a column its title, of `float(a.b)` and `a.b.mean()` b."""
    match node:
        case ast.Name(name) | ast.Subscript(slice=ast.Constant(str(name))):
            return name
        case ast.Attribute(value, name):
            return called(value) if name in FIGURES else name
        case ast.Call(func, [value]) if called(func) in WRAPPERS:
            return called(value)
        case ast.Call(ast.Attribute(value, name), []) if name in FIGURES:
            return called(value)
    return None


@cache
def parameters() -> dict[str, list[str]]:
    """Of functions and classes by their names, unless two of one name have others."""
    found: defaultdict[str, list[list[str]]] = defaultdict(list)
    for _, node in nodes()[ast.FunctionDef]:
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        owner = node.parent
        method = isinstance(owner, ast.ClassDef) and names[:1] in (["self"], ["cls"])
        name = owner.name if method and node.name == "__init__" else node.name
        found[name].append(names[method:])
    for _, node in nodes()[ast.ClassDef]:
        fields = [called(part.target) for part in node.body if isinstance(part, ast.AnnAssign)]
        if fields and not any(getattr(part, "name", "") == "__init__" for part in node.body):
            found[node.name].append([str(field) for field in fields])
    return {name: each[0] for name, each in found.items() if all(e == each[0] for e in each)}


def pairs(node: ast.AST) -> tuple[list[tuple[str, str | None]], set[str]]:
    """(where a value goes, what it is called) of a call, record or assignment; all its places."""
    match node:
        case ast.Dict():
            goes = [
                (str(key.value), called(value))
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            ]
            return goes, {key for key, _ in goes}
        case ast.Call():
            goes = [(word.arg, called(word.value)) for word in node.keywords if word.arg]
            places = {place for place, _ in goes}
            known = parameters().get(str(called(node.func)), [])
            if not any(isinstance(argument, ast.Starred) for argument in node.args):
                goes += [(p, called(a)) for p, a in zip(known, node.args, strict=False)]
                places |= set(known)
            return goes, places
        case ast.Assign([ast.Tuple(names)], ast.Tuple(values)) if len(names) == len(values):
            both = zip(map(called, names), map(called, values), strict=True)
            goes = [(place, name) for place, name in both if place is not None]
            return goes, {place for place, _ in goes}
    return [], set()


@pytest.mark.parametrize("kind", [ast.Dict, ast.Call, ast.Assign])
def test_what_has_the_name_of_one_place_does_not_go_to_another(kind: type) -> None:
    wrong, right = [], 0
    for file, node in nodes()[kind]:
        goes, places = pairs(node)
        for place, name in goes:
            right += name == place
            alike = name is None or place.startswith(f"{name}_") or place.endswith(f"_{name}")
            if not alike and name != place and name in places and (file, place, name) not in MEANT:
                wrong.append(
                    f"{file}:{node.lineno}: {name} goes to {place}, and {name} is beside it"
                )
    assert wrong == []
    assert right > (10 if kind is ast.Assign else 300)


def empty(function: ast.FunctionDef) -> bool:
    """Whether it is an interface: words, or an error."""
    body = [line for line in function.body if not isinstance(line, ast.Expr)]
    return all(isinstance(line, ast.Raise) for line in body)


def around(node: Any) -> Iterator[Any]:
    """The functions in whose bodies a node is."""
    while hasattr(node, "parent"):
        above = node.parent
        if isinstance(above, ast.FunctionDef) and node in above.body:
            yield above
        node = above


def test_functions_use_what_they_are_given_and_what_they_make() -> None:
    """But for methods of several classes and kinds of random problems, whose parameters are those
    of an interface: a method says `del key` of a key that it has no use for.
    """
    made, used = defaultdict(set), defaultdict(set)
    for _, name in nodes()[ast.Name]:
        for function in around(name):
            stored = isinstance(name.ctx, ast.Store) and not isinstance(name.parent, ast.AugAssign)
            (made if stored else used)[function].add(name.id)
    for _, node in nodes()[ast.Nonlocal]:
        for function in around(node):
            used[function] |= set(node.names)
    methods = [f for _, f in nodes()[ast.FunctionDef] if isinstance(f.parent, ast.ClassDef)]
    times = Counter(f.name for f in methods)
    wrong, right = [], 0
    for file, function in nodes()[ast.FunctionDef]:
        every, names = function.args, set(made[function])
        inherited = isinstance(function.parent, ast.ClassDef) and times[function.name] > 1
        given = {a.arg for a in every.posonlyargs + every.args + every.kwonlyargs}
        if not (empty(function) or file.startswith("benchmarks/fuzz/")):
            names |= given & PASSED_ON if inherited else given
        names = {name for name in names if not name.startswith("_") and name not in ("self", "cls")}
        wrong += [f"{file}:{function.name}: {name}" for name in names - used[function]]
        right += len(names)
    assert wrong == []
    assert right > 5_000


def test_settings_and_fields_are_read_somewhere() -> None:
    """Those of an experiment in its own folder."""
    read_in: defaultdict[str, set[str]] = defaultdict(set)
    for file, node in nodes()[ast.Attribute]:
        if isinstance(node.ctx, ast.Load):
            read_in[node.attr].add(str(Path(file).parent))
    unread = []
    for file, node in nodes()[ast.ClassDef]:
        fields = [str(called(part.target)) for part in node.body if isinstance(part, ast.AnnAssign)]
        for field in fields if node.name not in WHOLE else ():
            places = read_in[field]
            if not places or (node.name == "Options" and str(Path(file).parent) not in places):
                unread.append(f"{file}: {node.name}.{field}")
    assert unread == []
