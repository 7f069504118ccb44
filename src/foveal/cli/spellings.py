"""What users of other programs type: the options, `name=value` words and commands of Ultralytics, timm, Keras,
fastai and torchvision. Each has one line below: what foveal calls it, or what it does instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from typer.core import TyperCommand

from foveal.clock import parse_duration
from foveal.errors import UsageError
from foveal.machine import bytes_of


@dataclass(frozen=True)
class Same:
    """Options that foveal has under another name.

    Attributes:
        names: without hyphens.
        option: what takes their place; empty: the value is a positional argument, with `first` the first one.
        value: that they stand for, as flags; empty: their own value.
    """

    names: str
    option: str = ""
    first: bool = False
    value: str = ""


@dataclass(frozen=True)
class Instead:
    """Options that foveal does not have: what it does instead, and what to type."""

    names: str
    answer: str
    use: str


_NO_TEST = Same("no-test", "--test", value="none")
_TRAINING = (
    Same("data dataset data-dir data-path source root train-dir"),
    Same("model arch architecture network model-name", "--backbone"),
    Same("output output-dir save-dir out-dir outdir result-dir run-dir", "--out"),
    Same("random-state random-seed", "--seed"),
    Same("time-limit max-time budget duration timeout", "--time"),
    Same("ignore-index ignore-label", "--void"),
    _NO_TEST,
    Same("tracker logger report-to", "--log"),
    Instead(
        "epochs epoch n-epochs num-epochs max-epochs steps max-steps iterations steps-per-epoch e",
        "foveal trains as long as --time allows and chooses the number of epochs to fit",
        "--time 10m",
    ),
    Instead(
        "lr lr0 lrf learning-rate base-lr lr-max warmup-epochs warmup momentum cos-lr scheduler sched lr-scheduler",
        "foveal chooses the learning rate; it rises during a warm-up, then falls along a cosine or a line",
        "only --time; the values chosen are under `decisions` in config.json",
    ),
    Instead(
        "batch batch-size bs b auto-batch accumulate grad-accum",
        "foveal chooses the batch size to fit into memory",
        "--memory 4GiB to limit the memory of the whole process",
    ),
    Instead(
        "imgsz img-size image-size img-sz input-size size resolution crop-pct img",
        "foveal takes the image size of the backbone, and larger ones where there is time",
        "only --time, or another --backbone",
    ),
    Instead(
        "val-split validation-split valid-pct val-pct test-split test-size train-size split ratio val valid",
        "foveal splits the images itself, without leaks, into training, validation and test subsets",
        "folders train/, val/ and test/, or a column `split` in a CSV file, for a split of your own; "
        "--no-test to hold out no test subset",
    ),
    Instead(
        "workers num-workers n-jobs jobs j threads",
        "foveal uses all cores that the process may use",
        "`taskset -c 0-3 foveal train …` for fewer",
    ),
    Instead("project name exp-name experiment exist-ok", "a run is one folder", "--out PROJECT/NAME"),
    Instead(
        "pretrained no-pretrained weights checkpoint load ckpt",
        "foveal starts from the pretrained weights of --backbone",
        "--from-scratch MODEL to train a network from fresh weights",
    ),
    Instead(
        "optimizer optim opt weight-decay wd",
        "the strategy decides the optimizer",
        "--strategy NAME; `foveal train --help` lists the strategies",
    ),
    Instead(
        "loss criterion label-smoothing smoothing dropout drop mixup cutmix cutout reprob aa auto-augment hflip "
        "fliplr flipud degrees scale mosaic erasing",
        "the strategy decides losses and regularisation, and --augment how strongly images are changed",
        "--augment none, light or strong",
    ),
    Instead(
        "patience early-stopping early-stop",
        "foveal keeps the best model and stops when a further gain could not be told from chance",
        "--time for longer training",
    ),
    Instead(
        "freeze freeze-layers unfreeze freeze-epochs", "strategies differ in what they freeze", "--strategy frozen"
    ),
    Instead(
        "gpu gpus gpu-id device-ids cuda ngpu accelerator", "a run uses one device", "--device cuda or cuda:1"
    ),
    Instead("cpu no-cuda", "the device is one option", "--device cpu"),
    Instead("amp half fp16 bf16 mixed-precision precision", "bf16 is used where it is as accurate and faster", ""),
    Instead(
        "num-classes n-classes nc class-names names",
        "the classes are the folders, or the labels in the table",
        "--classes FILE for the class names of masks",
    ),
    Instead(
        "class-weights class-weight balanced",
        "foveal adjusts the logits of linear heads where classes are unbalanced",
        "--imbalance none for the plain model",
    ),
    Instead("metric metrics monitor", "foveal reports accuracy, macro F1 and more", "the report of the run"),
    Instead("verbose v log-level", "foveal shows progress in any case", "--quiet to print only the result"),
    Instead("deterministic", "runs are repeatable", "--seed, and --replay RUN for the same weights"),
    Instead("wandb", "foveal never sends data to a server", "--log tensorboard or --log mlflow"),
    Instead("tensorboard", "loggers are one option", "--log tensorboard"),
    Instead("mlflow", "loggers are one option", "--log mlflow"),
    Instead("plots plot save save-period no-save", "every run writes its model and a report", ""),
    Instead(
        "config cfg hyp yaml params", "foveal reads no file of settings", "the options of `foveal train --help`"
    ),
    Instead(
        "conf iou threshold", "a threshold belongs to prediction", "the column `probability` of `foveal predict`"
    ),
)
#: Of predict and evaluate.
_NO_CHOICE = (
    Instead(
        "conf threshold iou score-threshold",
        "foveal gives every image its likeliest class",
        "the columns `probability`, `set` and `unknown` of `foveal predict`",
    ),
    Instead("imgsz img-size image-size size", "the model knows the image size that it was trained with", ""),
    Instead("batch batch-size bs workers num-workers", "foveal chooses these", ""),
    Instead("half fp16 bf16 amp", "the precision is one option", "--precision bf16 of `foveal predict`"),
    Instead("tta augment", "foveal predicts with the views that validation chose", ""),
    Instead("gpu gpus cuda", "foveal uses one device", "--device cuda"),
    Instead("verbose v", "foveal shows progress in any case", "--quiet to print only the result"),
)
_PREDICTING = (
    Same("model weights checkpoint ckpt run", first=True),
    Same("source data images input image img"),
    Same("output output-dir save-dir out-dir project name", "--out"),
    Same("top-k k", "--topk"),
    Instead("save save-txt save-conf show view-img", "predictions are a table", "--out FILE.csv"),
    *_NO_CHOICE,
)
_EVALUATING = (
    Same("model weights checkpoint ckpt run", first=True),
    Same("data dataset source val-dir test-dir"),
    *_NO_CHOICE,
    Instead("split", "without DATA the run's own test subset is evaluated", "foveal evaluate RUN [DATA]"),
)
_PLANNING = (
    Same("arch architecture network model-name model"),
    Same("batch-size bs b", "--batch"),
    Same("imgsz img-size image-size input-size input-shape size", "--input"),
    Same("num-classes nc", "--classes"),
    Same("optim opt", "--optimizer"),
    Instead("gpu gpus cuda", "the plan is made for one device", "--device cuda:24GiB with the memory of the GPU"),
    Instead("epochs lr learning-rate", "a plan is about one step of training", "foveal train"),
)
#: By command.
LINES: dict[str, tuple[Same | Instead, ...]] = {
    "train": _TRAINING,
    "predict": _PREDICTING,
    "evaluate": _EVALUATING,
    "audit": (_TRAINING[0], _NO_TEST),
    "plan": _PLANNING,
}
#: Options whose value has a unit, and what reads it.
_WITH_UNIT: dict[str, Callable[[str], object]] = {"--time": parse_duration, "--memory": bytes_of}
#: Where the context of a command keeps the options that stand for others: those → what was typed.
_TYPED = "foveal.typed"
#: Commands of other programs → what to type.
COMMANDS = {
    "fit": "foveal train DATA",
    "finetune": "foveal train DATA",
    "fine-tune": "foveal train DATA",
    "learn": "foveal train DATA",
    "classify": "foveal train DATA, or foveal predict RUN PATH…",
    "segment": "foveal train DATA --task segment",
    "val": "foveal evaluate RUN",
    "validate": "foveal evaluate RUN",
    "test": "foveal evaluate RUN",
    "eval": "foveal evaluate RUN",
    "score": "foveal evaluate RUN DATA",
    "infer": "foveal predict RUN PATH…",
    "inference": "foveal predict RUN PATH…",
    "check": "foveal audit DATA",
    "lint": "foveal audit DATA",
    "checks": "foveal doctor",
    "info": "foveal doctor, or foveal plan MODEL",
    "env": "foveal doctor",
    "models": "foveal zoo",
    "list": "foveal zoo",
    "summary": "foveal plan MODEL",
    "profile": "foveal plan MODEL",
    "benchmark": "foveal plan MODEL",
    "version": "foveal --version",
    "tune": "foveal train chooses the hyperparameters",
    "lr-find": "foveal train chooses the learning rate",
    "resume": "foveal train --resume RUN",
    "detect": "foveal has no object detection; it classifies images, and pixels with --task segment",
    "pose": "foveal has no pose estimation",
    "obb": "foveal has no object detection",
    "track": "foveal has no tracking",
}


class CommandWithAnswers(TyperCommand):
    """A command that understands, or answers, the options of other programs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  (click's own types are private)
        """Parse the arguments once foreign ones are replaced.

        Raises:
            UsageError: for those that foveal does not have; one error for all.
        """
        return super().parse_args(ctx, self._translated(ctx, list(args)))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command.

        Raises:
            UsageError: about an option by the name that was typed.
        """
        try:
            return super().invoke(ctx)
        except UsageError as error:
            for option, typed in ctx.meta.get(_TYPED, {}).items():
                if error.message.startswith(f"{option} "):
                    error.message = typed + error.message.removeprefix(option)
                    error.args = (error.message,)
            raise

    def _translated(self, ctx: Any, taken: list[str]) -> list[str]:  # noqa: ANN401
        own = {
            name: p for p in self.get_params(ctx) for name in (*p.opts, *p.secondary_opts) if name.startswith("-")
        }
        lines = {name: line for line in LINES.get(str(self.name), ()) for name in line.names.split()}
        found: list[str] = []
        refused: dict[str, Instead] = {}
        while taken:
            word = taken.pop(0)
            if word == "--":
                return _checked([*found, word, *taken], refused)
            name, equals, value = _as_option(word, own, lines)
            if name in own:
                values = _values(own[name], equals)
                given = [value] if equals else taken[:values]
                del taken[:values]
                _refuse_apart(name, given, taken)
                found += [f"{name}={value}"] if equals else [name, *given]
                continue
            line = lines.get(_plain(name)) if name else None
            if isinstance(line, Instead):
                refused[name] = line
            elif isinstance(line, Same):
                given = [line.value or value] if equals or line.value else taken[:1]
                del taken[: 0 if equals or line.value else 1]
                _refuse_apart(line.option, given, taken)
                ctx.meta.setdefault(_TYPED, {})[line.option] = name
                found = [*given, *found] if line.first else [*found, *filter(None, [line.option]), *given]
            else:
                found.append(word)
        return _checked(found, refused)


def _as_option(word: str, own: dict[str, Any], lines: dict[str, Any]) -> tuple[str, str, str]:
    """A word as option, `=` and value: `--lr=1`, `--group_by`, `-lr`, or `epochs=3` as Ultralytics writes it.

    The option is empty where the word is something else.
    """
    name, equals, value = word.partition("=")
    if re.fullmatch(r"--?[A-Za-z]\S*", name):
        if name in own:
            return name, equals, value
        plain = f"--{_plain(name)}"
        return (plain if plain in own and name.startswith("--") else name), equals, value
    if equals and re.fullmatch(r"[A-Za-z]\w*", name) and not os.path.exists(word):
        plain = _plain(name)
        if f"--{plain}" in own or plain in lines:
            return f"--{plain}", equals, value
    return "", "", ""


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-").lower()


def _values(parameter: Any, equals: str) -> int:  # noqa: ANN401
    """How many words after an option belong to it."""
    return 0 if equals or parameter.is_flag or parameter.count else int(parameter.nargs)


def _refuse_apart(option: str, given: Sequence[str], rest: Sequence[str]) -> None:
    """Refuse a number whose unit is a word of its own, as in `--time 10 min` without quotes.

    Raises:
        UsageError: with how to write it.
    """
    number, unit = "".join(given), rest[0] if rest else ""
    if option not in _WITH_UNIT or not re.fullmatch(r"[\d.]+", number) or not re.fullmatch(r"[A-Za-z]+", unit):
        return
    for count in (3, 1):  # `1 h 30 min`, `10 min`
        together = number + "".join(rest[:count])
        try:
            _WITH_UNIT[option](together)
        except UsageError:
            continue
        if not os.path.exists(unit):  # the data may be named like a unit
            apart = " ".join([number, *rest[:count]])
            raise UsageError(f"{option} {apart}: a value is one word", hint=f"write {option} {together}")


def _checked(found: list[str], refused: dict[str, Instead]) -> list[str]:
    if refused:
        answers = [f"{', '.join(names)}: {line.answer}" for line, names in _by_line(refused)]
        uses = [line.use for line, _ in _by_line(refused) if line.use]
        raise UsageError("\n".join(answers), hint="; ".join(uses) or "leave it out")
    return found


def _by_line(refused: dict[str, Instead]) -> Iterator[tuple[Instead, Sequence[str]]]:
    for line in dict.fromkeys(refused.values()):
        yield line, [name for name, its in refused.items() if its is line]


def refuse_command(name: str) -> None:
    """Say what to type instead of a command of another program, or of data without a command.

    Raises:
        UsageError: where that is known.
    """
    if use := COMMANDS.get(_plain(name)):
        raise UsageError(f"foveal has no command {name!r}", hint=use)
    if name.startswith("sample:") or os.path.exists(name):
        raise UsageError(f"{name!r} is data, not a command", hint=f"foveal train {name}")
