"""The house stands as `docs/architecture.md` says: read from the imports, not from good intentions."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import foveal

SRC = Path(foveal.__file__).parent
GROUND = {"values", "plans", "config", "errors", "clock", "files", "machine", "progress", "prefetch", "__init__"}
LEAVES = {"engines", "metrics", "models", "planner"}
STAGES = ["data", "features", "fit", "measure", "ship"]
TOP = {"flow", "tasks", "studies", "cli", "estimator", "__main__"}
#: What each leaf may use besides the ground and itself.
LEAF_USES = {"engines": {"models"}, "metrics": set(), "models": set(), "planner": {"models"}}
HEAVY = {"torch", "torchvision", "timm", "openvino", "sklearn", "matplotlib", "scipy", "PIL", "numpy"}


def room(module):
    """The room a module of foveal stands in: `foveal.data.scan` -> `data`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def files():
    return sorted(SRC.rglob("*.py"))


def name_of(file):
    parts = file.relative_to(SRC).with_suffix("").parts
    return ".".join(("foveal", *(p for p in parts if p != "__init__")))


MODULES = {name_of(file): file for file in files()}


def imports(file):
    """(module, at module level) of every import, those only for types left out."""
    found = []

    def visit(node, top):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module, top))
            found.extend((m, top) for a in node.names if (m := f"{node.module}.{a.name}") in MODULES)
        inner = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(ast.parse(file.read_text()), True)
    return found


def allowed(here, there):
    if here == there or there in GROUND:
        return True
    if here in GROUND:
        return False
    if here in LEAVES:
        return there in LEAF_USES[here]
    if here in STAGES:
        return there in LEAVES or (there in STAGES and STAGES.index(there) <= STAGES.index(here))
    if here == "tasks":
        return there in LEAVES or there in STAGES
    if here == "flow":
        return there not in {"studies", "cli", "estimator", "__main__"}
    if here == "studies":
        return there not in {"cli", "estimator", "__main__"}
    return here in TOP


@pytest.mark.parametrize("file", files(), ids=name_of)
def test_arrows_run_one_way(file):
    here = room(name_of(file))
    for module, _ in imports(file):
        if module.split(".")[0] == "foveal" and module != "foveal":
            assert allowed(here, room(module)), f"{name_of(file)} imports {module}"


def test_no_circles():
    arrows = {n: {m for m, _ in imports(f) if m in MODULES and m not in (n, "foveal")} for n, f in MODULES.items()}
    done, on_the_way = set(), []

    def walk(name):
        if name in on_the_way:
            raise AssertionError(" -> ".join([*on_the_way[on_the_way.index(name) :], name]))
        if name not in done:
            on_the_way.append(name)
            for following in sorted(arrows[name]):
                walk(following)
            done.add(on_the_way.pop())

    for name in sorted(arrows):
        walk(name)
    assert done == set(MODULES)


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_carries_nothing_heavy(name):
    used = {module.split(".")[0] for module, _ in imports(SRC / f"{name}.py")}
    assert not used & HEAVY


#: Modules made of torch: they import it at their top, so nobody else may import *them* before they are needed.
OF_TORCH = {
    *(
        f"foveal.models.{name}"
        for name in (
            "agreement",
            "frozen",
            "fully_convolutional",
            "heads",
            "mask_tiling",
            "sliding",
            "space",
            "tiling",
        )
    ),
    "foveal.models.small",
    "foveal.models.segments",
    "foveal.models.tuned",
    *(f"foveal.models.segmentation.{name}" for name in ("encoder", "fcn", "network")),
    *(
        f"foveal.planner.{name}"
        for name in ("advise", "candidates", "ghost", "layers", "passes", "planning", "receptive", "remedy")
    ),
    *(f"foveal.planner.{name}" for name in ("prediction", "shapes", "signature", "steps", "trace")),
    *(n for n in MODULES if n.startswith("foveal.models.zoo.") and n != "foveal.models.zoo.cards"),
    *(n for n in MODULES if n.startswith("foveal.models.onnx_graph")),
    *(f"foveal.fit.{name}" for name in ("augment", "batches", "beneath", "depthwise", "device", "job", "loop")),
    *(f"foveal.fit.{name}" for name in ("memory", "optimizers")),
    *(f"foveal.fit.{name}" for name in ("crops", "masker", "pieces", "segmenting", "training", "tuning")),
    *(f"foveal.studies.{name}" for name in ("digits", "innovation_networks", "layers", "profiling", "scenes")),
}


def test_openvino_and_torch_have_their_places():
    for file in files():
        for module, top in imports(file):
            base = module.split(".")[0]
            if base == "openvino":
                assert room(name_of(file)) == "engines", file
            late = {"timm", "sklearn", "matplotlib", "openvino", "pyarrow", "rich"}
            if base in late or ((base == "torch" or module in OF_TORCH) and name_of(file) not in OF_TORCH):
                assert not top, f"{name_of(file)} imports {module} before it is needed"


def test_files_and_the_story_keep_their_size():
    sizes = {f.relative_to(SRC).as_posix(): f.read_text().count("\n") for f in files()}
    assert sizes["flow.py"] <= 120
    assert {f: n for f, n in sizes.items() if n > 400} == {}


def test_functions_keep_their_size():
    long = [
        f"{name_of(file)}.{node.name}"
        for file in files()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 60
    ]
    assert long == []


def test_only_the_command_line_prints():
    for file in files():
        if room(name_of(file)) != "cli":
            calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
            assert not [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"], file


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


def test_importing_foveal_or_asking_for_help_costs_nothing():
    code = (
        "import sys; import foveal; from foveal.cli import main; "
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (HEAVY | {"rich", "jinja2", "imagehash"})
