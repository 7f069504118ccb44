"""FastAPI with the same weights, as short as its own documentation would have it.

    python serving.py eager|fastapi RUN PORT

`eager` computes in PyTorch with channels_last, `fastapi` by foveal's own engine.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from fastapi import FastAPI, UploadFile

from foveal.inference.classifier import ClassificationPredictor


def eager(run: str, port: int) -> None:
    """FastAPI, and the network in PyTorch, one image after the other."""
    import torch
    import uvicorn
    from PIL import Image

    from foveal.inference.bundle import load_bundle
    from foveal.inference.dense_map import classifier_of
    from foveal.machine import cores

    torch.set_num_threads(cores())
    bundle = load_bundle(run)
    model = classifier_of(bundle).eval().to(memory_format=torch.channels_last)
    size, classes = bundle.manifest.preprocess.size, bundle.manifest.classes
    temperature = bundle.manifest.temperature
    app = FastAPI()

    def answer(content: bytes) -> dict[str, Any]:
        image = Image.open(io.BytesIO(content)).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            x = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
            p = torch.softmax(model(x)[0] / temperature, dim=0)
        return _answer(classes, p.numpy())

    @app.post("/v1/predict")
    def predict(file: UploadFile) -> dict[str, Any]:
        return answer(file.file.read())

    uvicorn.run(app, port=port, log_level="warning")


def fastapi(run: str, port: int) -> None:
    """FastAPI, and foveal's engine, one image after the other."""
    import uvicorn

    predictor = ClassificationPredictor.load(run)
    predictor.warm_up()
    app = FastAPI()

    def answer(content: bytes) -> dict[str, Any]:
        [made] = predictor.predict_prepared(["image"], [predictor.prepare(content, "image")])
        return {"predictions": [made.to_dict()]}

    @app.post("/v1/predict")
    def predict(file: UploadFile) -> dict[str, Any]:
        return answer(file.file.read())

    uvicorn.run(app, port=port, log_level="warning")


def _answer(classes: tuple[str, ...], p: np.ndarray[Any, Any]) -> dict[str, Any]:
    order = np.argsort(-p)[:5].tolist()
    topk = [{"label": classes[k], "probability": float(p[k])} for k in order]
    return {"predictions": [{**topk[0], "topk": topk}]}


if __name__ == "__main__":
    {"eager": eager, "fastapi": fastapi}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
