"""What the frozen part of a network makes of pictures.

Features for the head that comes first, and maps of augmented views for what learns above. Both come from OpenVINO
where that computes the trunk, in a fifth of torch's time; views of the training side are made once a run, whoever
asks for them first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.data.pixels import Pixels, room_for
from foveal.fit.augment import Augment, augmented
from foveal.fit.batches import statistics_of
from foveal.fit.device import Device
from foveal.fit.strategies.base import Work
from foveal.models.tuned import Tuned
from foveal.values import Placed, Preprocess

Array = NDArray[np.float32]
Half = NDArray[np.float16]
Run = Callable[[torch.Tensor], Array]

#: Views share the room in memory that one array may take, and without a budget that of this many bytes.
_VIEWS, _PLENTY = 6, 8 << 30


class Beneath:
    """The frozen part of one network at one size.

    Args:
        work: the job.
        preprocess: of the pictures, at the size of the network's input.
        network: in torch, for where OpenVINO does not compute the trunk.
        cut: segments below it are frozen.
        augment: changes of the views, in pixels where they are lengths.
        device: of torch, and the precision that the rest is trained in.
        at_once: pictures in a batch.
    """

    def __init__(
        self,
        work: Work,
        preprocess: Preprocess,
        network: Tuned,
        cut: int,
        augment: Augment,
        device: Device,
        at_once: int,
    ) -> None:
        self._work, self._preprocess, self._network = work, preprocess, network
        self._cut, self._augment, self._device, self._at_once = cut, augment, device.name, at_once
        engine = str(work.decisions.made.get("engine", {"value": ""})["value"])
        # A graph that ships is known to take any size; one exported here was made for one.
        fast = device.name == "cpu" and engine.startswith("openvino") and work.features.backbone.graph is not None
        # Of features bf16 is asked more: that answers stay the same. What is trained above it grows used to it.
        self._precision = device.precision if fast else ""

    def features(self, pixels: Pixels) -> Array:
        """Of the whole trunk, `(N, dimension)`."""
        mean, std = statistics_of(self._preprocess, self._device)
        run, at_once, rows = self._runner(whole=True), self._at_once, []
        for start in range(0, len(pixels), at_once):
            batch = torch.from_numpy(np.array(pixels[start : start + at_once])).to(self._device).float()
            rows.append(run((batch - mean) / std))
        return np.concatenate(rows)

    def views(self, placed: Sequence[Placed], count: int) -> tuple[list[Half], NDArray[np.int64]]:
        """Maps of augmented views, each `(M, C, H, W)`, and the row of every one of these pictures in them.

        A picture is changed alike whoever asks: views hold the whole training side, since whoever learns from a
        part of it may go on with all.
        """
        everybody = self._work.split.on("train")
        key = ("views", self._preprocess.size, self._cut)
        known: list[Half] = self._work.beneath.setdefault(key, [])
        if len(known) < count:
            pixels = self._work.rendered(everybody, self._preprocess)
            run, steps = self._runner(whole=False), (count - len(known)) * len(everybody)
            with (
                self._work.clock.lap("features"),
                self._work.progress.stage("views of the trunk", steps) as bar,
            ):
                while len(known) < count:
                    known.append(self._view(len(known), pixels, run, bar))
        rows = {p.record.sha256: i for i, p in enumerate(everybody)}
        return known[:count], np.array([rows[p.record.sha256] for p in placed], dtype=np.int64)

    def _view(self, number: int, pixels: Pixels, run: Run, on_each: Callable[[int], None]) -> Half:
        mean, std = statistics_of(self._preprocess, self._device)
        at_once = self._at_once
        view: Half | None = None
        for start in range(0, len(pixels), at_once):
            batch = torch.from_numpy(np.array(pixels[start : start + at_once])).to(self._device).float()
            chance = torch.Generator().manual_seed((self._work.seed * 1009 + number) * 1_000_003 + start)
            maps = run(augmented((batch - mean) / std, self._augment, chance))
            if view is None:
                memory = (self._work.memory or _PLENTY) // _VIEWS
                view = room_for((len(pixels), *maps.shape[1:]), np.float16, memory)
            view[start : start + at_once] = maps
            on_each(len(batch))
        assert view is not None
        return view

    def maps_of(self, batch: torch.Tensor) -> Array:
        """Of normalised pictures `(N, 3, H, W)`."""
        return self._runner(whole=False)(batch)

    def _runner(self, *, whole: bool) -> Run:
        key = ("engine", self._preprocess.size, None if whole else self._cut)
        if not self._precision:
            return self._in_torch(whole=whole)
        if key not in self._work.beneath:
            from foveal.engines.openvino_engine import beginning

            stage = None if whole else self._cut - 2  # a segment is a stage, behind the stem
            backbone = self._work.features.backbone
            self._work.beneath[key] = beginning(backbone, self._preprocess.size, stage, self._precision)
        run: Callable[[Array], Array] = self._work.beneath[key]
        return lambda batch: run(batch.contiguous().numpy())

    def _in_torch(self, *, whole: bool) -> Run:
        def run(batch: torch.Tensor) -> Array:
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                made = self._network.forward_features(batch) if whole else self._network.lower(batch, self._cut)
            found: NDArray[Any] = made.float().cpu().numpy()
            return found

        return run
