"""MLflow: a run of the experiment "nearfar" where MLFLOW_TRACKING_URI points, or where MLflow keeps runs by itself."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LONGEST = 500  # characters of a parameter that every store takes


class Mlflow:
    """A run with the name of the folder, by a client of its own: a run that the user has open is left alone."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        found = self._client.get_experiment_by_name("nearfar")
        experiment = found.experiment_id if found is not None else self._client.create_experiment("nearfar")
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        params = [Param(name, str(value)[:_LONGEST]) for name, value in settings.items()]
        self._client.log_batch(self._run, params=params[:100])  # as many as it takes at once

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after this step."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(re.sub(r"[^\w\-. /]", "_", name), value, now, step) for name, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        """Say that the run has ended."""
        self._client.set_terminated(self._run)


open_run = Mlflow
