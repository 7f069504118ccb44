"""MLflow: a run where `MLFLOW_TRACKING_URI` says, otherwise in `logs/mlflow` of the run folder.

foveal itself opens no connection: MLflow does if the user's address is that of a server. Its telemetry is off unless
the user's environment says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def open_tracker(run: Path, settings: Mapping[str, Any]) -> _Mlflow:
    """Begin a run of MLflow."""
    return _Mlflow(run, settings)


class _Mlflow:
    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        address = os.environ.get("MLFLOW_TRACKING_URI")
        if not address:
            address = (run / "logs" / "mlflow").resolve().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # files need no database library
        self._client = MlflowClient(tracking_uri=address)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "foveal"
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        self._run: str = self._client.create_run(experiment, run_name=run.name).info.run_id
        for key, value in settings.items():
            self._client.log_param(self._run, key, value)

    def scalar(self, name: str, value: float, step: int) -> None:
        self._client.log_metric(self._run, name, value, step=step)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")
