"""Generates the parts of the documentation that would otherwise go out of date.

`docs/cli.md` from `--help`, `docs/settings.md` from `foveal.config`, and the figures of pages and docstrings from
`bench/results/`.

uv run python tools/docs.py            write
uv run python tools/docs.py --check    fail if something would change, or a link is broken
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal import ImageClassifier, Segmenter
from foveal.cli.verbs import NAMES
from foveal.config import TrainConfig, default_of, option_name, settings_of
from foveal.serving.settings import ServeSettings

ROOT = Path(__file__).parents[1]


def cli_page() -> str:
    """The `--help` of every command, as it is printed."""
    parts = ["# The command line\n\nGenerated from `--help` by `tools/docs.py`.\n"]
    for name in ("", *NAMES):
        command = ["foveal", *([name] if name else []), "--help"]
        environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
        printed = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=True, env=environment
        ).stdout
        printed = printed.replace("python -m foveal", "foveal")
        parts.append(f"## `{' '.join(command)}`\n\n```text\n{printed.rstrip()}\n```\n")
    return "\n".join(parts)


def settings_page(config: type) -> str:
    """All settings of a run: names, defaults, and which estimators take them."""
    estimators = (ImageClassifier, Segmenter)
    lines = [
        "# Settings",
        "",
        "Generated from `foveal.config` by `tools/docs.py`. Each setting is an option of `foveal train` and a key",
        "of `config.json`. The last column names the estimators that have it as a parameter.",
        "",
        "| setting | option | default | what it does | estimators |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, about in settings_of(config).items():
        default = default_of(config, name)
        option = option_name(name)
        if isinstance(default, bool):
            option = f"{option}, --no-{option[2:]}"
        elif about.metavar:
            option = f"{option} {about.metavar}"
        shown = "–" if default is None else f"`{default}`"
        text = f"{about.full_help} {about.cli_help}".strip().replace("|", "\\|")
        takers = [f"`{e.__name__}`" for e in estimators if name in inspect.signature(e).parameters]
        lines.append(f"| `{name}` | `{option}` | {shown} | {text} | {', '.join(takers) or '–'} |")
    return "\n".join([*lines, ""])


def with_figures(text: str) -> str:
    """The page with each block between `<!-- bench NAME -->` and `<!-- end -->` replaced by its current table."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- bench ([\w-]+) -->)\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def transfer_table() -> str:
    """The comparison with other programs, as a Markdown table."""
    lines = [
        "| data | program | seconds (n, sd) | times foveal | accuracy, 95 % interval (test images) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in ("scenes8", "clipart10"):
        for contestant, row in (_result(f"transfer-{name}") or {}).get("summary", {}).items():
            program = contestant.replace(", first rung", " --strategy frozen")
            s = row["seconds"]
            sd = f"{s['sd']:.1f}" if s["sd"] is not None else "–"
            low, high = row["ci95"]
            lines.append(
                f"| {name} | {program} | {s['mean']:.1f} ({s['n']}, {sd}) | {row['seconds_over_foveal']:.2f} "
                f"| {100 * row['accuracy']:.1f} %, {100 * low:.1f}–{100 * high:.1f} % ({row['n']}) |"
            )
    return "\n".join([*lines, "", _machine_line("transfer-scenes8")])


def mnist_table() -> str:
    """MNIST by time budget, as a Markdown table."""
    lines = [
        "| budget | test accuracy (n, sd) | without the 15 disputed labels | training, s | whole process, s "
        "| times less training than Keras |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in (_result("mnist") or {}).get("summary", {}).items():
        accuracy, rest = row["accuracy"], row.get("undisputed")
        sd = f"{100 * accuracy['sd']:.3f}" if accuracy["sd"] is not None else "–"
        without = f"{100 * rest['mean']:.3f} %" if rest else "–"
        cells = [name, f"{100 * accuracy['mean']:.3f} % ({accuracy['n']}, {sd})", without]
        for key in ("fit_seconds", "wall_seconds"):
            cells.append(f"{row[key]['mean']:.1f}" if key in row else "–")
        times = row.get("times_less_training_than_keras")
        cells.append(f"{times:.1f}" if times else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _machine_line("mnist")])


def ladder_table() -> str:
    """Each strategy on each task, as a Markdown table."""
    lines = [
        "| data | strategy | budget | seconds (runs) | test accuracy, 95 % interval (images) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in ("ladder", "ladder-small"):
        for row in (_result(name) or {}).get("summary", []):
            low, high = row["ci95"]
            lines.append(
                f"| {row['task']} | {row['rung']} | {row['budget']} | {row['seconds']:.0f} ({row['runs']}) "
                f"| {100 * row['accuracy']:.1f} %, {100 * low:.1f}–{100 * high:.1f} % ({row['n']}) |"
            )
    for name, row in (_result("ladder-small") or {}).get("regret", {}).items():
        low, high = row["ci95"]
        words = f"{row['points']:.2f} points ({low:.2f} to {high:.2f}) over {len(row['tasks'])} small tasks"
        rival = name.replace("rung", "strategy")
        lines += ["", f"On average the ladder is behind {rival} by {words}."]
    if kept := (_result("promise") or {}).get("summary"):
        words = f"{kept['runs'] - kept['broken']} of {kept['runs']} runs of the ladder kept their budget"
        lines += ["", f"{words}; none took over {max(0.0, kept['most_over']):.1f} s more."]
    parts = {"ladder": "budgets of 5 minutes", "ladder-small": "budgets of 60 s", "promise": "budgets kept"}
    return "\n".join([*lines, "", _machine_lines(_measured(parts))])


def mnist_heading() -> str:
    """The accuracy of each recipe, for the docstring of the module with their strategies."""
    summary, lines = (_result("mnist") or {}).get("summary", {}), []
    budgets = {"seconds": "40s", "minute": "75s", "quarter": "15m", "hour": "1h"}
    for recipe, budget in budgets.items():
        if accuracy := summary.get(recipe, {}).get("accuracy"):
            took = f"{summary[recipe]['fit_seconds']['mean']:.0f} s"
            sd = f"{100 * accuracy['sd']:.3f}" if accuracy["sd"] is not None else "-"
            score = f"{100 * accuracy['mean']:.3f} % (n {accuracy['n']}, sd {sd})"
            lines.append(f"    foveal train DATA --time {budget:<6}scratch-{recipe:<10}{took:<10}{score}")
    return "\n".join(lines)


def segment_heading() -> str:
    """The mIoU of each segmentation strategy, for the docstring of their module."""
    lines = []
    for name, held_out in STREETS.items():
        for row in (_result(name) or {}).get("rows", []):
            low, high = row["miou_ci95"]
            score = f"mIoU {100 * row['miou']:.1f} % ({100 * low:.1f} to {100 * high:.1f}; n 1), {held_out}"
            took = f"{row['seconds']:.0f} s"
            lines.append(f"    foveal train DATA --time {row['time']:<6}{row['strategy']:<10}{took:<10}{score}")
    return "\n".join(lines)


def with_headings(text: str) -> str:
    """The module with each block of its docstring between `.. bench NAME` and `.. end` replaced."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{HEADINGS[match[2]]()}\n\n.. end"

    return re.sub(r"^(\.\. bench ([\w-]+))\n.*?^\.\. end$", block, text, flags=re.DOTALL | re.MULTILINE)


def other_table() -> str:
    """The other benchmarks, one line each, with the machine of each."""
    lines, scripts = ["| what | measured |", "| --- | --- |"], {}
    for name in ("features", "fully_convolutional", "masks", "beside", "scale", "hostile"):
        result = _result(name)
        if result is None:
            continue
        lines += [f"| {words} | {value} |" for words, value in result.get("lines", {}).items()]
        scripts[name] = f"`bench/{name}.py`"
    return "\n".join([*lines, "", _machine_lines(scripts)])


def planner_table() -> str:
    """Planned peak memory compared with the profiler's, as a Markdown table."""
    lines = ["| who, cases | networks | n | mean error | worst | bound |", "| --- | --- | --- | --- | --- | --- |"]
    for name, row in (_result("planner") or {}).get("summary", {}).items():
        who = f"foveal, {name}" if "lowest_bound" in row or name == "remedies" else f"{name}, fp32"
        bounds = [f"{100 * row[side]:+.1f} %" for side in ("lowest_bound", "highest_bound") if side in row]
        mean, worst = row["mean_absolute_error"], row["worst_absolute_error"]
        shares = f"{100 * mean:.2f} % | {100 * worst:.2f} % | {' to '.join(bounds)}"
        lines.append(f"| {who} | {row['networks']} | {row['n']} | {shares} |")
    return "\n".join([*lines, "", _machine_line("planner")])


def memory_table() -> str:
    """Fine-tuning within memory limits, as a Markdown table."""
    lines = [
        "| `--memory` | budget, MiB | planned tensors | peak resident | test accuracy (images) | s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in (_result("memory") or {}).get("rows", []):
        sizes = (row["budget_bytes"], row["planned_bytes"], row["peak_rss_bytes"])
        low, high = (100 * bound for bound in row["accuracy_ci95"])
        well = f"{100 * row['accuracy']:.1f} %, {low:.1f}–{high:.1f} % ({row['n']})"
        mebibytes = " | ".join(f"{size / 2**20:.0f}" for size in sizes)
        lines.append(f"| {row['limit']} | {mebibytes} | {well} | {row['seconds']:.0f} |")
    return "\n".join([*lines, "", _machine_line("memory")])


def strides_table() -> str:
    """Decoders by stride on street scenes, as a Markdown table; gains are points over the row above."""
    lines = [
        "| decoder | mIoU (n, sd) | boundary F1 | gain in mIoU, 95 % interval "
        "| gain in boundary F1, 95 % interval |",
        "| --- | --- | --- | --- | --- |",
    ]

    def gained(row: dict[str, Any], metric: str) -> str:
        gain = next((v for k, v in row.items() if k.startswith(f"{metric}_over_")), None)
        if gain is None:
            return "–"
        low, high = gain["ci95"]
        return f"{100 * gain['points']:+.1f}, {100 * low:+.1f} to {100 * high:+.1f}"

    for name, row in (_result("camvid-strides") or {}).get("compared", {}).items():
        iou, outline = row["miou"], row["boundary_f1"]
        sd = f"{100 * iou['sd']:.1f}" if iou["sd"] is not None else "–"
        lines.append(
            f"| `{name}` | {100 * iou['mean']:.1f} % ({iou['n']}, {sd}) | {100 * outline['mean']:.1f} % "
            f"| {gained(row, 'miou')} | {gained(row, 'boundary_f1')} |"
        )
    return "\n".join([*lines, "", _machine_line("camvid-strides")])


def digit_map_table() -> str:
    """From a classifier to a segmenter, as a Markdown table."""
    lines = [
        "| way | mIoU (n, sd) | boundary F1 | right on ink | of the image called a digit |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in (_result("digit-map") or {}).get("summary", {}).items():
        iou = row["miou"]
        shares = (f"{100 * row[k]['mean']:.1f} %" for k in ("boundary_f1", "right_on_ink", "called_digit"))
        sd = f"{100 * iou['sd']:.1f}" if iou["sd"] is not None else "–"
        lines.append(f"| {name} | {100 * iou['mean']:.1f} % ({iou['n']}, {sd}) | {' | '.join(shares)} |")
    return "\n".join([*lines, "", _machine_line("digit-map")])


def camvid_table() -> str:
    """Whole runs on street scenes, as a Markdown table."""
    lines = [
        "| held out | budget | seed | took, s | network | mIoU, 95 % interval (n) | right pixels | boundary F1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, held_out in STREETS.items():
        for row in (_result(name) or {}).get("rows", []):
            low, high = (100 * bound for bound in row["miou_ci95"])
            lines.append(
                f"| {held_out} | {row['time']} | {row['seed']} | {row['seconds']:.0f} | `{row['strategy']}` "
                f"| {100 * row['miou']:.1f} %, {low:.1f}–{high:.1f} % ({row['n']}) "
                f"| {100 * row['pixel_accuracy']:.1f} % | {100 * row['boundary_f1']:.1f} % |"
            )
    return "\n".join([*lines, "", _machine_lines(_measured(STREETS))])


def budgets_table() -> str:
    """What each time budget bought, as a Markdown table: kinds of images by budgets."""
    rows = (_result("budgets") or {}).get("rows", [])
    budgets = sorted({row["budget_s"] for row in rows})
    heads = [f"{b:.0f} s" if b < 120 else f"{b / 60:.0f} min" for b in budgets]
    lines = [f"| images | {' | '.join(heads)} |", f"| --- |{' --- |' * len(budgets)}"]

    def cell(name: str, budget: float) -> str:
        mine = [row for row in rows if (row["data"], row["budget_s"]) == (name, budget)]
        done = [row for row in mine if "accuracy" in row]
        if not done:
            return "refused" if mine else ""
        mean = sum(row["accuracy"] for row in done) / len(done)
        took = sum(row["process_s"] for row in done) / len(done)
        return f"{100 * mean:.1f} %, {took:.0f} s, `{done[0]['strategy']}`"

    for name in dict.fromkeys(row["data"] for row in rows):
        lines.append(f"| {name} | {' | '.join(cell(name, budget) for budget in budgets)} |")
    used = sum(row["process_s"] / row["budget_s"] for row in rows) / max(1, len(rows))
    words = f"{len(rows)} whole processes, which used {100 * used:.0f} % of their budgets on average."
    return "\n".join([*lines, "", words, "", _machine_line("budgets")])


def _machine_line(name: str) -> str:
    result = _result(name)
    if not result:
        return ""
    machine: dict[str, Any] = result["machine"]
    versions = ", ".join(f"{k} {machine['versions'][k]}" for k in ("python", "openvino", "torch", "scikit-learn"))
    extensions = " ".join(machine["instruction_sets"])
    return f"Measured on {machine['cpu']}, {machine['cores']} cores, {extensions}; {versions}."


def _machine_lines(parts: Mapping[str, str]) -> str:
    """One line for each machine, with what was measured on it: `parts` describes result files by name."""
    machines: dict[str, list[str]] = {}
    for name, words in parts.items():
        machines.setdefault(_machine_line(name), []).append(words)
    return "\n\n".join(f"{line[:-1]} ({', '.join(words)})." for line, words in machines.items())


def _measured(parts: Mapping[str, str]) -> dict[str, str]:
    """The parts whose result file exists."""
    return {name: words for name, words in parts.items() if _result(name)}


def _result(name: str) -> dict[str, Any] | None:
    path = ROOT / "bench" / "results" / f"{name}.json"
    content: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return content


def serve_table() -> str:
    """Images per second by the way of serving, and the overload, as Markdown."""
    found = _result("serve")
    if found is None:
        return "`bench/serve.py` compares it with other ways to serve the same weights."
    lines = ["| server | images/s (n, sd) | p50, ms | p99, ms |", "| --- | --- | --- | --- |"]
    closed = [row for row in found["rows"] if row["kind"] == "closed"]
    for name, rate in found["summary"]["images_per_second"].items():
        rows = [row for row in closed if row["server"] == name]
        p50, p99 = (sum(row[key] for row in rows) / len(rows) for key in ("p50_ms", "p99_ms"))
        sd = f"{rate['sd']:.1f}" if rate["sd"] is not None else "–"
        lines.append(f"| {name} | {rate['mean']:.1f} ({rate['n']}, {sd}) | {p50:.0f} | {p99:.0f} |")
    share = 100 * found["summary"]["share_of_the_ceiling"]
    lines += ["", f"foveal reaches {share:.0f} % of what decoding and the engine alone would allow."]
    for row in (row for row in found["rows"] if row["kind"] == "open"):
        codes = ", ".join(f"{count} × {status}" for status, count in row["statuses"].items())
        lines += [
            "",
            f"At {row['sent_per_second']:.0f} requests/s for {row['seconds']:.0f} s: {codes}; resident memory "
            f"{row['rss_mb'][0]} MB before, {row['rss_mb'][1]} MB at most; normal latency again after "
            f"{row['normal_again_s']:.1f} s.",
        ]
    return "\n".join([*lines, "", _machine_line("serve")])


def serve_settings_table() -> str:
    """The settings of a server, as a Markdown table."""
    lines = ["| option | default | what it does |", "| --- | --- | --- |"]
    for name, about in settings_of(ServeSettings).items():
        default = default_of(ServeSettings, name)
        shown = "–" if default in (None, "") or default is False else f"`{default}`"
        metavar = f" {about.metavar}" if about.metavar else ""
        lines.append(f"| `{option_name(name)}{metavar}` | {shown} | {about.full_help} |")
    return "\n".join(lines)


def label_table() -> str:
    """What labelling a folder takes, as a Markdown table."""
    lines = [
        "| images | labelled | right | actions | images per action | first group, s | a request, s (99 %) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in (_result("label") or {}).get("rows", []):
        lines.append(
            f"| {row['data']} | {row['labelled']} of {row['images']} | {100 * row['accuracy']:.1f} % "
            f"| {row['actions']} | {row['images_per_action']:.1f} | {row['first_group_s']:.1f} "
            f"| {row['request_s']['mean']:.2f} ({row['request_p99_s']:.2f}) |"
        )
    return "\n".join([*lines, "", _machine_line("label")])


TABLES = {
    "label": label_table,
    "transfer": transfer_table,
    "mnist": mnist_table,
    "other": other_table,
    "ladder": ladder_table,
    "planner": planner_table,
    "memory": memory_table,
    "camvid": camvid_table,
    "camvid-strides": strides_table,
    "digit-map": digit_map_table,
    "budgets": budgets_table,
    "serve": serve_table,
    "serve-settings": serve_settings_table,
}

#: What was held out of the street scenes, for each result file.
STREETS = {"camvid": "another place", "camvid-later": "later in the drives"}
HEADINGS = {"mnist": mnist_heading, "camvid": segment_heading}


def dead_links(page: Path, text: str) -> list[str]:
    """Relative links of a page whose target does not exist."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [link for link in links if "://" not in link and not (page.parent / link).exists()]


def main() -> None:
    """Write, or check."""
    check = "--check" in sys.argv
    pages = {ROOT / "docs" / "cli.md": cli_page(), ROOT / "docs" / "settings.md": settings_page(TrainConfig)}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if page not in pages:
            pages[page] = with_figures(page.read_text(encoding="utf-8"))
    for module in sorted((ROOT / "src").rglob("*.py")):
        if "\n.. bench " in (text := module.read_text(encoding="utf-8")):
            pages[module] = with_headings(text)
    problems = []
    for page, text in pages.items():
        problems += [f"{page.relative_to(ROOT)}: broken link {link}" for link in dead_links(page, text)]
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            if check:
                problems.append(f"{page.relative_to(ROOT)} is not up to date: run tools/docs.py")
            else:
                page.write_text(text, encoding="utf-8")
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
