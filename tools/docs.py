"""Pages that can't drift: `docs/cli.md` from `--help`; figures of pages and recipes from `bench/results/`.

uv run python tools/docs.py            write
uv run python tools/docs.py --check    fail when something would change, or a link leads nowhere
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VERBS = ("train", "audit", "evaluate", "predict", "plan", "zoo", "study", "doctor")


def cli_page() -> str:
    """Every verb's `--help`, as it is printed."""
    parts = ["# The command line\n\nMade from `--help` by `tools/docs.py`.\n"]
    for verb in ("", *VERBS):
        command = ["foveal", *([verb] if verb else []), "--help"]
        environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
        shown = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=True, env=environment
        ).stdout
        shown = shown.replace("python -m foveal", "foveal")
        parts.append(f"## `{' '.join(command)}`\n\n```text\n{shown.rstrip()}\n```\n")
    return "\n".join(parts)


def with_figures(text: str) -> str:
    """The same page with each block between `<!-- bench NAME -->` and `<!-- end -->` made anew."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- bench ([\w-]+) -->)\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def transfer_table() -> str:
    """The bench against peers, as Markdown."""
    lines = [
        "| pictures | program | seconds (n, sd) | times foveal | accuracy, 95 % interval (test pictures) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in ("scenes8", "clipart10"):
        found = _result(f"transfer-{name}")
        for contestant, row in (found or {}).get("summary", {}).items():
            s = row["seconds"]
            sd = f"{s['sd']:.1f}" if s["sd"] is not None else "–"
            low, high = row["ci95"]
            lines.append(
                f"| {name} | {contestant} | {s['mean']:.1f} ({s['n']}, {sd}) | {row['seconds_over_foveal']:.2f} "
                f"| {100 * row['accuracy']:.1f} %, {100 * low:.1f}–{100 * high:.1f} % ({row['n']}) |"
            )
    return "\n".join([*lines, "", _machine_line("transfer-scenes8")])


def mnist_table() -> str:
    """MNIST by budget, as Markdown."""
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
    """Each rung on each task, as Markdown."""
    lines = [
        "| pictures | rung | budget | seconds (runs) | test accuracy, 95 % interval (pictures) |",
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
        lines += ["", f"On average the ladder is behind {name} by {words}."]
    if kept := (_result("promise") or {}).get("summary"):
        words = f"{kept['runs'] - kept['broken']} of {kept['runs']} runs of the ladder kept their budget"
        lines += ["", f"{words}; none took over {max(0.0, kept['most_over']):.1f} s more."]
    told = {"ladder": "budgets of 5 minutes", "ladder-small": "budgets of 60 s", "promise": "budgets kept"}
    return "\n".join([*lines, "", _machine_lines(_there(told))])


def mnist_heading() -> str:
    """What each recipe buys, for the top of the module that holds them."""
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
    """The same for segmenters."""
    lines = []
    for name, held_out in STREETS.items():
        for row in (_result(name) or {}).get("rows", []):
            low, high = row["miou_ci95"]
            score = f"mIoU {100 * row['miou']:.1f} % ({100 * low:.1f} to {100 * high:.1f}; n 1), {held_out}"
            took = f"{row['seconds']:.0f} s"
            lines.append(f"    foveal train DATA --time {row['time']:<6}{row['strategy']:<10}{took:<10}{score}")
    return "\n".join(lines)


def with_headings(text: str) -> str:
    """The same module with each block of its docstring between `.. bench NAME` and `.. end` made anew."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{HEADINGS[match[2]]()}\n\n.. end"

    return re.sub(r"^(\.\. bench ([\w-]+))\n.*?^\.\. end$", block, text, flags=re.DOTALL | re.MULTILINE)


def other_table() -> str:
    """The remaining benches, a line each, and what each was measured on."""
    lines, there = ["| what | measured |", "| --- | --- |"], []
    for name in ("features", "fully_convolutional", "masks", "beside", "scale", "hostile"):
        found = _result(name)
        if found is None:
            continue
        lines += [f"| {words} | {value} |" for words, value in found.get("lines", {}).items()]
        there.append(name)
    return "\n".join([*lines, "", _machine_lines({name: f"`bench/{name}.py`" for name in there})])


def planner_table() -> str:
    """Planned peaks against the profiler's, as Markdown."""
    lines = ["| who, cases | networks | n | mean error | worst | bound |", "| --- | --- | --- | --- | --- | --- |"]
    for name, row in (_result("planner") or {}).get("summary", {}).items():
        who = f"foveal, {name}" if "lowest_bound" in row or name == "remedies" else f"{name}, fp32"
        bounds = [f"{100 * row[side]:+.1f} %" for side in ("lowest_bound", "highest_bound") if side in row]
        mean, worst = row["mean_absolute_error"], row["worst_absolute_error"]
        shares = f"{100 * mean:.2f} % | {100 * worst:.2f} % | {' to '.join(bounds)}"
        lines.append(f"| {who} | {row['networks']} | {row['n']} | {shares} |")
    return "\n".join([*lines, "", _machine_line("planner")])


def memory_table() -> str:
    """Fine-tuning within budgets of memory, as Markdown."""
    lines = [
        "| `--memory` | budget, MiB | planned tensors | peak resident | test accuracy (pictures) | s |",
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
    """Decoders of ever finer stride on street scenes, as Markdown; gains are in points over the decoder before."""
    lines = [
        "| decoder | mIoU (n, sd) | boundary F1 | gain in mIoU, 95 % interval "
        "| gain in boundary F1, 95 % interval |",
        "| --- | --- | --- | --- | --- |",
    ]

    def gained(row: dict[str, Any], measure: str) -> str:
        found = next((v for k, v in row.items() if k.startswith(f"{measure}_over_")), None)
        if found is None:
            return "–"
        low, high = found["ci95"]
        return f"{100 * found['points']:+.1f}, {100 * low:+.1f} to {100 * high:+.1f}"

    for name, row in (_result("camvid-strides") or {}).get("compared", {}).items():
        iou, outline = row["miou"], row["boundary_f1"]
        sd = f"{100 * iou['sd']:.1f}" if iou["sd"] is not None else "–"
        lines.append(
            f"| `{name}` | {100 * iou['mean']:.1f} % ({iou['n']}, {sd}) | {100 * outline['mean']:.1f} % "
            f"| {gained(row, 'miou')} | {gained(row, 'boundary_f1')} |"
        )
    return "\n".join([*lines, "", _machine_line("camvid-strides")])


def digit_map_table() -> str:
    """From a classifier to a map, as Markdown."""
    lines = [
        "| way | mIoU (n, sd) | boundary F1 | right on ink | of the picture called a digit |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in (_result("digit-map") or {}).get("summary", {}).items():
        iou = row["miou"]
        shares = (f"{100 * row[k]['mean']:.1f} %" for k in ("boundary_f1", "right_on_ink", "called_digit"))
        sd = f"{100 * iou['sd']:.1f}" if iou["sd"] is not None else "–"
        lines.append(f"| {name} | {100 * iou['mean']:.1f} % ({iou['n']}, {sd}) | {' | '.join(shares)} |")
    return "\n".join([*lines, "", _machine_line("digit-map")])


def camvid_table() -> str:
    """Whole trainings on street scenes, as Markdown."""
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
    return "\n".join([*lines, "", _machine_lines(_there(STREETS))])


def _machine_line(name: str) -> str:
    found = _result(name)
    if not found:
        return ""
    machine: dict[str, Any] = found["machine"]
    versions = ", ".join(f"{k} {machine['versions'][k]}" for k in ("python", "openvino", "torch", "scikit-learn"))
    extensions = " ".join(machine["instruction_sets"])
    return f"Measured on {machine['cpu']}, {machine['cores']} cores, {extensions}; {versions}."


def _machine_lines(told: Mapping[str, str]) -> str:
    """A line for each machine, with what was measured on it."""
    machines: dict[str, list[str]] = {}
    for name, words in told.items():
        machines.setdefault(_machine_line(name), []).append(words)
    return "\n\n".join(f"{line[:-1]} ({', '.join(words)})." for line, words in machines.items())


def _there(told: Mapping[str, str]) -> dict[str, str]:
    return {name: words for name, words in told.items() if _result(name)}


def _result(name: str) -> dict[str, Any] | None:
    path = ROOT / "bench" / "results" / f"{name}.json"
    content: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return content


TABLES = {
    "transfer": transfer_table,
    "mnist": mnist_table,
    "other": other_table,
    "ladder": ladder_table,
    "planner": planner_table,
    "memory": memory_table,
    "camvid": camvid_table,
    "camvid-strides": strides_table,
    "digit-map": digit_map_table,
}

#: What was held out of the street scenes, by result file.
STREETS = {"camvid": "another place", "camvid-later": "later in the drives"}
HEADINGS = {"mnist": mnist_heading, "camvid": segment_heading}


def dead_links(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [link for link in links if "://" not in link and not (page.parent / link).exists()]


def main() -> None:
    """Write, or check."""
    check = "--check" in sys.argv
    pages = {ROOT / "docs" / "cli.md": cli_page()}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if page not in pages:
            pages[page] = with_figures(page.read_text(encoding="utf-8"))
    for module in ("scratch", "segment"):
        page = ROOT / "src" / "foveal" / "fit" / "strategies" / f"{module}.py"
        pages[page] = with_headings(page.read_text(encoding="utf-8"))
    wrong = []
    for page, text in pages.items():
        wrong += [f"{page.relative_to(ROOT)}: {link} leads nowhere" for link in dead_links(page, text)]
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            if check:
                wrong.append(f"{page.relative_to(ROOT)} is not up to date: run tools/docs.py")
            else:
                page.write_text(text, encoding="utf-8")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
