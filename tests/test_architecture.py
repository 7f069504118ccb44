"""The layers are as `docs/architecture.md` says: read from the imports of every module, those for types included."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import foveal
from foveal.cli.verbs import NAMES

SRC = Path(foveal.__file__).parent
BASE = {
    *("values", "plans", "config", "errors", "clock", "files", "machine", "progress", "prefetch", "devices"),
    *("decisions", "memory_budget", "output_files", "schema", "version", "figures", "harmless", "blas"),
}
#: Package or module → what it may import besides the base and itself. Nothing else is allowed.
MAY_IMPORT = {
    "metrics": set(),
    "tracking": set(),
    "models": set(),
    "planner": {"models"},
    "engines": {"models"},
    "data": {"metrics"},
    "features": {"data", "engines"},
    "training": {"data", "features", "engines", "metrics", "models", "planner"},
    "inference": {"data", "features", "engines", "metrics", "models", "planner"},
    "evaluation": {"data", "inference", "metrics", "models"},
    "export": {"data", "engines", "inference", "metrics", "models"},
    "run_folder": {"data", "models"},
    "tasks": {"data", "training", "inference", "evaluation"},
    "flow": {"data", "training", "inference", "evaluation", "run_folder", "tasks"},
    "estimator": {
        "export",
        "data",
        "evaluation",
        "inference",
        "run_folder",
        "flow",
        "tasks",
        "cli",
        "sklearn_base",
    },
    "sklearn_base": set(),
    "studies": {"data", "training", "inference", "evaluation", "metrics", "models", "planner", "engines", "flow"},
    "labelling": {"data", "features", "engines", "models"},
    "serving": {"data", "inference", "evaluation", "labelling", "metrics", "models", "run_folder"},
    "cli": {
        "data",
        "serving",
        "labelling",
        "inference",
        "evaluation",
        "export",
        "models",
        "planner",
        "engines",
        "studies",
        "flow",
        "tasks",
        "tracking",
    },
    "__main__": {"cli"},
    "__init__": {"data", "estimator", "inference", "planner"},
}
#: Inside `data`, in the order in which an image passes through.
DATA = ["wording", "images", "targets", "sources", "audit", "split", "dataset"]
TRAINING = [
    *(
        "sampling",
        "recipes",
        "time_budget",
        "compare",
        "compare_label_sets",
        "images",
        "context",
        "softmax_regression",
        "linear_head",
        "imbalance",
        "one_vs_rest",
        "heads",
        "candidate",
        "flip_test",
        "fresh_network",
    ),
    *(
        "batches",
        "loop",
        "strategy",
        "starting_point",
        "trainers",
        "strategies",
        "routing",
        "ladder",
        "refit",
        "cross_test",
        "testing",
        "learning_curve",
        "unknown",
        "held_out",
    ),
]
HEAVY = {"torch", "torchvision", "timm", "openvino", "sklearn", "scipy", "matplotlib", "pyarrow", "rich"}


def name_of(file):
    parts = file.relative_to(SRC).with_suffix("").parts
    return ".".join(("foveal", *(p for p in parts if p != "__init__")))


MODULES = {name_of(file): file for file in sorted(SRC.rglob("*.py"))}


def package(module):
    """`foveal.data.audit.scan` → `data`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(module, *, types=True, functions=True):
    """What a module imports; `types`: under TYPE_CHECKING as well, `functions`: inside functions as well."""
    names = set()

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types:
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not functions:
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            inner = {f"{node.module}.{a.name}" for a in node.names}
            names.update(inner & MODULES.keys() or {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(MODULES[module].read_text()))
    return names


ARROWS = {module: {m for m in imports(module) if m in MODULES} for module in MODULES}


def violations(arrows, may_import):
    """Arrows from a package to one that it may not import."""
    return sorted(
        (here, there)
        for here, targets in arrows.items()
        for there in targets
        if package(there) not in BASE
        and package(here) != package(there)
        and package(there) not in (set() if package(here) in BASE else may_import[package(here)])
    )


def circle(arrows):
    """The modules of one circle of imports, in order; empty when there is none."""
    done, path = set(), []

    def walk(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for following in sorted(arrows.get(name, ())):
            if following != name and (found := walk(following)):
                return found
        done.add(path.pop())
        return []

    return next((found for name in sorted(arrows) if (found := walk(name))), [])


def test_packages_import_only_those_below_them():
    assert {package(m) for m in MODULES} == BASE | set(MAY_IMPORT)
    assert violations(ARROWS, MAY_IMPORT) == []


@pytest.mark.parametrize(("name", "order"), [("data", DATA), ("training", TRAINING)])
def test_inside_a_package_imports_go_one_way(name, order):
    """Also those inside functions."""

    def place(module):
        parts = module.split(".")
        return order.index(parts[2]) if len(parts) > 2 else -1

    inner = {m: t for m, t in ARROWS.items() if package(m) == name and m != f"foveal.{name}"}
    backwards = [(h, t) for h, ts in inner.items() for t in ts if package(t) == name and place(t) > place(h)]
    assert backwards == []


def test_there_are_no_circles():
    assert circle(ARROWS) == []


def test_the_rules_find_what_breaks_them():
    arrows = {"foveal.inference.bundle": {"foveal.training.ladder"}, "foveal.training.ladder": set()}
    assert violations(arrows, MAY_IMPORT) == [("foveal.inference.bundle", "foveal.training.ladder")]
    assert violations({"foveal.clock": {"foveal.models.zoo"}}, MAY_IMPORT) == [
        ("foveal.clock", "foveal.models.zoo")
    ]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def loaded_with(module):
    """Packages that are imported when a module is, through all modules that it imports at their top."""
    seen, todo, outside = set(), [module], set()
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        for name in imports(here, types=False, functions=False):
            if name in MODULES:
                todo.append(name)
            else:
                outside.add(name.split(".")[0])
        parent = here.rpartition(".")[0]
        if parent:
            todo.append(parent)
    return outside


@pytest.mark.parametrize("module", sorted(m for m in MODULES if package(m) in BASE))
def test_the_base_loads_nothing_heavy(module):
    assert not loaded_with(module) & (HEAVY | {"numpy", "PIL"})


#: What starts a command: torch and its like are imported where they are needed, not before.
ENTRY_POINTS = [
    *("foveal", "foveal.cli.main", "foveal.estimator", "foveal.flow", "foveal.tasks"),
    *("foveal.inference.predictor", "foveal.training.ladder", "foveal.training.routing", "foveal.studies"),
    *(f"foveal.cli.{name}" for name in NAMES),
]


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_entry_points_load_nothing_heavy(module):
    # A class can't be a classifier of scikit-learn without it.
    assert not loaded_with(module) & HEAVY - ({"sklearn"} if module == "foveal.estimator" else set())


def test_serving_loads_nothing_of_training_and_a_web_server_only_where_it_serves():
    web = {"starlette", "uvicorn", "prometheus_client", "httpx"}
    for module in MODULES:
        if package(module) == "serving":
            assert not [m for m in ARROWS[module] if package(m) in ("training", "flow", "tasks")], module
        else:
            assert not web & {n.split(".")[0] for n in imports(module)}, module
    assert not loaded_with("foveal.serving.settings") & (web | HEAVY)


def test_only_the_engines_import_openvino():
    assert {package(m) for m in MODULES if "openvino" in {n.split(".")[0] for n in imports(m)}} == {"engines"}


def test_only_the_command_line_prints():
    for module, file in MODULES.items():
        if package(module) != "cli":
            calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
            assert not [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"], module


def test_public_names():
    public = [
        *("FovealError", "ImageClassifier", "Segmenter", "__version__", "audit", "load", "plan"),
        "to_fully_convolutional",
    ]
    assert foveal.__all__ == public
    for name in foveal.__all__:
        assert getattr(foveal, name) is not None
    with pytest.raises(AttributeError):
        _ = foveal.Nonsense


def test_asking_for_help_imports_nothing_heavy():
    code = (
        "import sys; import foveal; from foveal.cli import main; "
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(loaded) & (HEAVY | {"numpy", "PIL", "jinja2", "imagehash", "msgspec", "platformdirs"})


def test_a_command_imports_no_other(tmp_path):
    code = (
        "import sys; from foveal.cli.main import main\n"
        "sys.argv = ['foveal', 'predict', 'nowhere', 'x.png']\n"
        "try: main()\n"
        "finally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    loaded = {name.removeprefix("foveal.cli.") for name in done.stdout.split()} & set(NAMES)
    assert done.returncode == 2 and loaded == {"predict"}


def test_predicting_from_a_usual_file_imports_no_parser_of_another_format(tmp_path):
    code = (
        "import io, sys; from PIL import Image; from foveal.data.images.decode import decode\n"
        "file = io.BytesIO(); Image.new('RGB', (8, 8)).save(file, 'PNG')\n"
        "decode(file.getvalue(), 'x.png'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "PIL.PngImagePlugin" in loaded and not {"PIL.TiffImagePlugin", "PIL.WebPImagePlugin"} & set(
        loaded.split()
    )
