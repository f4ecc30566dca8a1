"""The house rules that import-linter cannot state."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

SERVICE_DOORS = {
    "mlflow": "tasks/register.py",
    "evidently": "tasks/drift.py",
    "dvc": "tasks/version.py",
    "label_studio_sdk": "tasks/label_studio.py",
    "ultralytics": "models/ultralytics_door.py",
}
PERSONAL = r"(^|[\"' (=])/(work|home|root|Users)/[a-z]"  # folders that only exist on somebody's machine
ON_PURPOSE = ("tests/test_architecture.py", "tests/models/test_pretrain.py")  # they hold such a path to look for it
STAGE_HELPERS = {"deploy", "process", "stage"}  # what a stage may import from tasks/: no stages themselves


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules a file imports, wherever in the file the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_mlflow_folder_holds_no_python(root: Path) -> None:
    """A Python file in mlflow/ would shadow the installed MLflow."""
    assert not list((root / "mlflow").rglob("*.py"))
    assert not (root / "mlflow.py").exists()


@pytest.mark.parametrize(("service", "door"), SERVICE_DOORS.items())
def test_each_service_has_one_door(root: Path, service: str, door: str) -> None:
    """Exactly one file imports each third-party service, so that replacing it touches one file."""
    users = [
        str(path.relative_to(root))
        for path in python_files(root, "edgeloop", "models", "tasks", "flows")
        if any(name == service or name.startswith(f"{service}.") for name in imported(path))
    ]
    assert users == [door]


def test_stages_never_import_each_other(root: Path) -> None:
    """Order is said in flows/ alone; a stage reaches another only through what the flow hands it."""
    stages = {path.stem for path in (root / "tasks").glob("*.py")} - STAGE_HELPERS - {"__init__"}
    doors = {("labels", "label_studio")}  # the queue interface opens one of its two implementations
    crossings = [
        (path.stem, name.split(".")[1])
        for path in (root / "tasks").glob("*.py")
        for name in imported(path)
        if name.startswith("tasks.") and name.split(".")[1] in stages - {path.stem}
    ]
    assert set(crossings) <= doors


def test_flows_are_order_only(root: Path) -> None:
    """A flow is at most 40 lines, without arithmetic and without try/except: logic belongs to edgeloop or a task."""
    for path in (root / "flows").glob("*.py"):
        if path.stem in {"__init__", "cli", "cli_models", "cli_stages"}:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            assert function.end_lineno is not None
            assert function.end_lineno - function.lineno < 40, f"{path.name}:{function.name} is too long"
            banned = [n for n in ast.walk(function) if isinstance(n, ast.Try) or _is_arithmetic(n)]
            assert not banned, f"{path.name}:{banned[0].lineno} holds logic"


def _is_arithmetic(node: ast.AST) -> bool:
    """Sums and products; `/` joins paths and `|` joins types, so they are allowed."""
    return isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Div | ast.BitOr)


def readme_tree(root: Path) -> list[str]:
    """The paths that the README's file tree names."""
    match = re.search(r"<!-- tree -->\n```\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert match, "README.md has no file tree between <!-- tree --> and its code block"
    parents: list[str] = []
    paths = []
    for line in match.group(1).splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        parents[indent:] = [name.rstrip("/")]
        paths.append("/".join(parents))
    return paths


def test_readme_tree_is_the_real_tree(root: Path) -> None:
    """Every path in the README exists, and every tracked file is under one of its lines."""
    named = readme_tree(root)
    missing = [path for path in named if not (root / path).exists()]
    assert not missing
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    unnamed = [path for path in tracked if path and not any(path == n or path.startswith(f"{n}/") for n in named)]
    assert not unnamed


def test_package_modules_are_all_named_in_the_readme(root: Path) -> None:
    """The tree goes down to the files of the four layers: a reader finds each by its one line."""
    named = set(readme_tree(root))
    files = python_files(root, "flows", "tasks", "models", "edgeloop")
    assert [str(f.relative_to(root)) for f in files if f.stem != "__init__" and not _named(f, root, named)] == []


def _named(path: Path, root: Path, named: set[str]) -> bool:
    relative = path.relative_to(root)
    return str(relative) in named or (len(relative.parts) > 2 and str(relative.parent) in named)


def test_repository_speaks_of_the_product_alone(root: Path) -> None:
    """No absolute path of somebody's machine in a tracked text file."""
    found = subprocess.run(
        ["git", "grep", "-nIE", PERSONAL, "--", *(f":!{path}" for path in ("uv.lock", *ON_PURPOSE))],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""
