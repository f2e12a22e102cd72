r"""Reading: what the code of a notebook binds, without running it.

in -> out   the source of a cell -> a dict: the names it binds at the notebook's level, and how;
            why it cannot be parsed; what in it should be read by eye
idea        A function counts however it is made there: by def, also inside if, try or with, by
            lambda, partial, as an alias or an object that can be called; that is how check sees
            it. A name that is only imported is nobody's own work.
left out    names bound behind Python's back, such as globals()["f"] = g
"""
import ast
import re
import warnings

TIMED = re.compile(r"\A\s*%%(time|capture)\b.*\n")       # magics whose cell still binds names
INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp,
         ast.SetComp, ast.DictComp, ast.GeneratorExp)      # have names of their own
MADE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MODULES = {"gc", "inspect", "ctypes", "builtins", "minidalle.course.checks"}
WORDS = {"_getframe", "currentframe", "f_back", "f_globals", "f_locals", "tb_frame", "gi_frame",
         "__globals__", "__closure__", "cell_contents", "__code__", "__subclasses__",
         "__builtins__", "__import__", "setprofile", "settrace",
         "import_module", "EXERCISES"}
CALLS = {"eval", "exec", "globals", "vars"}    # as functions; a model has an eval of its own
PLACES = re.compile(r"/proc\b|minidalle.course.checks.")


def tree_of(source: str) -> ast.Module:
    """Magics may stand around the code. SyntaxError and its kin if it is none."""
    from IPython.core.inputtransformer2 import TransformerManager

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")        # those of the student's strings
        return ast.parse(TransformerManager().transform_cell(TIMED.sub("", source)))


def read_cell(source: str, trees: list[ast.Module] | None = None) -> dict:
    """made: by def or class; bound: by anything else but an import; error: of the syntax. What
    was parsed is appended to the trees."""
    try:
        tree = tree_of(source)
    except Exception as error:                 # it will not run, and is found to have been meant
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        return {"made": re.findall(r"^\s*def (\w+)", source, re.MULTILINE), "bound": [],
                "marks": [], "error": f"{type(error).__name__}{line}"}
    if trees is not None:
        trees.append(tree)
    outer = list(level(tree))
    made = {node.name for node in outer if isinstance(node, MADE)}
    bound = {node.id for node in outer
             if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {"made": sorted(made), "bound": sorted(bound - made), "marks": sorted(marks(tree)),
            "error": ""}


def level(node: ast.AST):
    """The nodes that belong to the notebook's own level, not to a function or class in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, INNER):
            yield from level(child)


def marks(tree: ast.AST) -> set[str]:
    """What a person should look at: honest answers hardly ever need it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if is_odd(name.name)}
        elif isinstance(node, ast.ImportFrom):
            names = {name.name for name in node.names}
            if is_odd(node.module or "") and names != {"check"}:
                found.add(node.module)
        elif isinstance(node, ast.Attribute) and (
                node.attr in WORDS or ast.unparse(node) == "sys.modules"):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and node.id in WORDS | CALLS:
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(PLACES.findall(node.value))
    return found


def is_odd(module: str) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in MODULES)


def borrowed(trees: list[ast.Module], name: str) -> set[str]:
    """What of the package the function of this name calls in its own lines."""
    ours = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minidalle"):
            ours |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            ours |= {(one.asname or one.name).partition(".")[0]: one.name for one in node.names
                     if one.name.startswith("minidalle")}
    bodies = [node for tree in trees for node in level(tree) if binds(node, name)]
    used = {node.id for body in bodies for node in ast.walk(body) if isinstance(node, ast.Name)}
    return {ours[one] for one in used & ours.keys() if not one.isupper()}


def binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, MADE):
        return node.name == name
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == name for target in node.targets)


def read_cells(sources: list[str], names: list[str]) -> dict:
    """Each cell by itself, what the functions of these names take from the package, and what is
    left if only imports, functions and plain values are kept."""
    trees = []
    cells = [read_cell(source, trees) for source in sources]
    return {"cells": cells, "alone": alone(trees, names), "borrowed": {
        name: sorted(found) for name in names if (found := borrowed(trees, name))}}


def alone(trees: list[ast.Module], names: list[str]) -> list[str]:
    """Statement by statement, as text."""
    nodes = [node for tree in trees for node in level(tree)]
    barred = {node.name for node in nodes if isinstance(node, MADE)}
    barred |= {one.asname or one.name.partition(".")[0] for node in nodes
               if isinstance(node, (ast.Import, ast.ImportFrom))
               for one in node.names if (getattr(node, "module", "") or one.name).partition(".")[0]
               in ("minidalle", "matplotlib")}                 # what trains, and what draws
    return [ast.unparse(part) for tree in trees for node in tree.body
            if (part := kept(node, barred, names))]


def kept(node: ast.stmt, barred: set[str], names: list[str]) -> ast.stmt | None:
    """A statement without what could be more than a definition; None if nothing is left."""
    if isinstance(node, (*MADE, ast.Import, ast.ImportFrom)):
        return node
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        wanted = any(isinstance(part, ast.Name) and part.id in names and
                     isinstance(part.ctx, ast.Store) for part in ast.walk(node))
        return node if wanted or not barred & callers(node) else None
    if isinstance(node, (ast.If, ast.With, ast.Try)):
        blocks = [node, *getattr(node, "handlers", [])]
        for block in blocks:
            for field in ("body", "orelse", "finalbody"):
                parts = [kept(part, barred, names) for part in getattr(block, field, None) or []]
                if hasattr(block, field):
                    setattr(block, field, [part for part in parts if part] or
                            [ast.Pass()] * (field == "body"))
        return node
    return None


def callers(node: ast.AST) -> set[str]:
    """The names from which something is called: f of f(x), a of a.b(x)."""
    found = set()
    for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
        root = call.func
        while isinstance(root, (ast.Attribute, ast.Call, ast.Subscript)):
            root = root.func if isinstance(root, ast.Call) else root.value
        if isinstance(root, ast.Name):
            found.add(root.id)
    return found
