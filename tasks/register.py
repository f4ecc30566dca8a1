"""The MLflow door: a candidate with all that was measured of it becomes a version; aliases say which is deployed.

    run            one a registration: what was trained on what, the decision, the reports, `data.dvc`, the checkpoint
    logged models  every precision with the same metrics and parameters, so that the UI compares them side by side
    versions       point at the shipped file; aliases: challenger, champion, previous
    sweeps         a run with one nested run a candidate: its card, its curve, how it ended; nothing is registered

Every step looks for what an earlier, killed attempt left, by the key of the registration: however often it is started
again, one version comes out.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from edgeloop.artifact import Artifact, Precision
from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput, EdgeloopError, Refused
from edgeloop.files import atomic_directory
from edgeloop.lock import exclusive
from edgeloop.measures import Candidate, GateDecision
from edgeloop.record import Record
from edgeloop.registry import (
    Gate,
    ModelVersion,
    card_params,
    check_promotion,
    commit_of,
    curve_metrics,
    key_of,
    metrics_of,
    open_candidate,
    params_of,
    sweep_key,
    sweep_params,
    tags_of,
    title_of,
)
from edgeloop.sweep_trials import SweepResult, Trial
from models.checkpoint import RECORD
from tasks.process import is_healthy
from tasks.stage import stage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY = "edgeloop.key"
STATE = "edgeloop.state"  # of a candidate in a sweep: waiting, finished, eliminated or failed
PARENT = "mlflow.parentRunId"
KIND = "mlflow.experimentKind"  # without it the UI takes an experiment with models and no autolog for one of agents
REPLACED = "edgeloop.replaced"  # on a champion: the version it took over from
OPENED = ("reference", "shipped")  # roles of the files that a candidate is opened with again
NEWEST = "gate/decision.json"  # of a run: what `judge_again` recorded last
HEALTH_SECONDS = 10.0


@stage(cache=False)
def register(
    candidate: Candidate, decision: GateDecision, version: DatasetVersion, card: Card, config: Config
) -> ModelVersion:
    """Record a candidate and make it a version; `challenger` points at it when the gate passed it.

    The same file, data and decision are one version, however often they are registered.

    Raises:
        BadInput: the tracking server does not answer, or a file of the candidate is gone or has changed.
    """
    key, name = key_of(candidate, decision, version.md5), config.tracking.model
    with _tracking(config) as client:
        run = _run(client, config, key, title_of(candidate.shipped, card))
        _log_params(client, run, params_of(candidate.shipped, version, card))
        _log_records(client, run, {"candidate": candidate, "decision": decision, "card": card, "data": version})
        _log_files(client, run, candidate, decision, version)
        files = [Logged(candidate, artifact, moment) for moment, artifact in enumerate(candidate.files)]
        model = [
            _log_model(client, run, one, title_of(one.artifact, card), params_of(one.artifact, version, card))
            for one in files
        ][-1]
        number = _version(client, run, model, name, {KEY: key, **tags_of(candidate, decision, version)})
        if decision.passed and "champion" not in _read(client, name, number).aliases:
            client.set_registered_model_alias(name, "challenger", str(number))
        client.set_terminated(run.info.run_id)
        return _read(client, name, number)


@stage(cache=False)
def track_sweep(result: SweepResult, version: DatasetVersion, config: Config) -> str:
    """Record how far a sweep is: a run, and one nested run for each candidate that began. Returns the run's id.

    Called again with more done it adds that; what is logged already stays.

    Raises:
        BadInput: the tracking server does not answer.
    """
    key = sweep_key(result, commit_of(config.root))
    with _tracking(config) as client:
        parent = _run(client, config, key, result.sweep.name)
        _log_params(client, parent, sweep_params(result))
        _log_records(client, parent, {"sweep": result.sweep, **({"result": result} if result.over else {})})
        for trial in result.trials:
            if trial.standings or trial.state != "waiting":
                mark = {PARENT: parent.info.run_id}
                run = _run(client, config, f"{key}-{trial.card.name}", trial.card.name, mark)
                _log_trial(client, run, trial, version)
        if result.over:
            client.set_terminated(parent.info.run_id)
        return cast("str", parent.info.run_id)


@stage(cache=False)
def promote(version: ModelVersion, decision: GateDecision, config: Config) -> ModelVersion:
    """Make a version the champion; the champion before it is kept as `previous`. Twice changes nothing.

    Raises:
        Refused: see `edgeloop.registry.check_promotion`.
    """
    name, number = version.name, str(version.version)
    with _tracking(config) as client:
        today = _aliased(client, name, "champion")
        if today is None or today.version != version.version:
            check_promotion(version, decision, today)
            if today is not None:
                client.set_model_version_tag(name, number, REPLACED, str(today.version))
                client.set_registered_model_alias(name, "previous", str(today.version))
            client.set_registered_model_alias(name, "champion", number)
        if "challenger" in _read(client, name, version.version).aliases:
            client.delete_registered_model_alias(name, "challenger")
        return _read(client, name, version.version)


def decision_about(version: ModelVersion, config: Config) -> GateDecision:
    """What the gate said of a version last.

    Raises:
        BadInput: its run holds no decision.
    """
    from mlflow.artifacts import download_artifacts

    with _tracking(config) as client, tempfile.TemporaryDirectory() as folder:
        there = {file.path for place in ("", "gate") for file in client.list_artifacts(version.run_id, place)}
        name = next((one for one in (NEWEST, "decision.json") if one in there), None)
        if name is None:
            raise BadInput(f"version {version.version} has no gate decision; run `edgeloop gate {version.version}`.")
        return GateDecision.load(Path(download_artifacts(run_id=version.run_id, artifact_path=name, dst_path=folder)))


@stage(cache=False)
def judge_again(version: ModelVersion, decision: GateDecision, config: Config) -> ModelVersion:
    """Record a newer decision about a version, with its reports; `challenger` follows it. Twice changes nothing.

    What was decided when it was registered stays with the run.
    """
    name, number = version.name, str(version.version)
    with _tracking(config) as client:
        _log_reports(client, version.run_id, decision, str(Path(NEWEST).parent))
        client.log_text(version.run_id, decision.to_json(), NEWEST)
        client.set_model_version_tag(name, number, "gate", "passed" if decision.passed else "refused")
        aliases = _read(client, name, version.version).aliases
        if decision.passed and "champion" not in aliases:
            client.set_registered_model_alias(name, "challenger", number)
        if not decision.passed and "challenger" in aliases:
            client.delete_registered_model_alias(name, "challenger")
        return _read(client, name, version.version)


def rollback(config: Config) -> ModelVersion:
    """Make the previous champion the champion again, and the one before that the previous.

    Raises:
        Refused: there is no previous champion.
    """
    name = config.tracking.model
    with _tracking(config) as client:
        before = _aliased(client, name, "previous")
        if before is None:
            raise Refused(f"There is no previous champion of {name} to return to.")
        client.set_registered_model_alias(name, "champion", str(before.version))
        replaced = client.get_model_version(name, str(before.version)).tags.get(REPLACED)
        if replaced is None:
            client.delete_registered_model_alias(name, "previous")
        else:
            client.set_registered_model_alias(name, "previous", replaced)
        return _read(client, name, before.version)


def list_versions(config: Config) -> tuple[ModelVersion, ...]:
    """All versions, newest first."""
    name = config.tracking.model
    with _tracking(config) as client:
        numbers = sorted((int(one.version) for one in client.search_model_versions(f"name = '{name}'")), reverse=True)
        return tuple(_read(client, name, number) for number in numbers)


@stage(cache=False)
def champion(config: Config) -> Artifact | None:
    """The champion's shipped file, below `artifacts`; None before the first promotion."""
    found = champion_candidate.fn(config)
    return None if found is None else found.shipped


@stage(cache=False)
def champion_candidate(config: Config) -> Candidate | None:
    """The champion with its FP32 twin and its checkpoint, below `artifacts`; None before the first promotion.

    Its evaluations stay behind: a gate scores the champion again, on the audit sets as they are now.

    Raises:
        BadInput: a file in the registry is not the one that was registered.
    """
    with _tracking(config) as client:
        found = _aliased(client, config.tracking.model, "champion")
        return None if found is None else _open(client, found, config)


@stage(cache=False)
def candidate_of(version: ModelVersion, config: Config) -> Candidate:
    """A registered version with its FP32 twin and its checkpoint, as `champion_candidate`.

    Raises:
        BadInput: a file in the registry is not the one that was registered.
    """
    with _tracking(config) as client:
        return _open(client, version, config)


def _open(client: MlflowClient, version: ModelVersion, config: Config) -> Candidate:
    folder = config.workspace.artifacts / "registry" / version.run_id
    if not folder.is_dir():
        _download(client, version, folder)
    return open_candidate(folder)


@contextmanager
def _tracking(config: Config) -> Iterator[MlflowClient]:
    """A client of the configured store, for one process at a time; its errors become ours."""
    place = config.workspace
    if place.tracking_uri.startswith("http") and not is_healthy(f"{place.tracking_uri}/health", HEALTH_SECONDS):
        raise BadInput(
            f"The tracking server {place.tracking_uri} does not answer. Start it, or leave `tracking.uri` empty for "
            f"SQLite under {place.var}."
        )
    with exclusive(place.var / "mlflow" / "lock", "the model registry", 120):
        mlflow = _import_mlflow()
        mlflow.set_tracking_uri(place.tracking_uri)  # the SQL registry asks the global one for logged models
        try:
            yield mlflow.MlflowClient()
        except mlflow.exceptions.MlflowException as error:
            if "disk is full" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place.var / "mlflow")) from error
            raise EdgeloopError(f"{place.tracking_uri} refused: {error.message.splitlines()[0]}") from error


QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # decided about when MLflow is imported
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # its notes on making tables
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for results
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def _import_mlflow() -> Any:
    """MLflow, silent on every channel; what the user set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


def _run(client: MlflowClient, config: Config, key: str, name: str, marks: Mapping[str, str] | None = None) -> Run:
    """The run of this registration: an earlier attempt's or a new one, with `marks` among its tags."""
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    own = None if config.tracking.uri else config.workspace.tracking_artifacts  # a server has a place of its own
    number = experiment.experiment_id if experiment else client.create_experiment(config.tracking.experiment, own)
    if KIND not in (experiment.tags if experiment else {}):
        client.set_experiment_tag(number, KIND, "custom_model_development")
    found = client.search_runs([number], f"tags.`{KEY}` = '{key}'", max_results=1)
    commit = commit_of(config.root)
    tags = {KEY: key, **(marks or {}), **({"mlflow.source.git.commit": commit} if commit else {})}
    return found[0] if found else client.create_run(number, tags=tags, run_name=name)


def _log_params(client: MlflowClient, run: Run, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    if not run.data.params:  # they are written all at once, and MLflow refuses to change them
        client.log_batch(run.info.run_id, params=[Param(name, value) for name, value in params.items()])


def _log_records(client: MlflowClient, run: Run, records: Mapping[str, Record]) -> None:
    for name, record in records.items():
        client.log_text(run.info.run_id, record.to_json(), f"{name}.json")


def _log_trial(client: MlflowClient, run: Run, trial: Trial, version: DatasetVersion) -> None:
    """One candidate of a sweep: card, data, curve by epoch, and how it ended."""
    from mlflow.entities import Metric

    identity = run.info.run_id
    _log_params(client, run, card_params(trial.card, version))
    _log_records(client, run, {"card": trial.card})
    _log_data(client, run, version)
    measured = trial.measured.candidate if trial.measured else None
    last = metrics_of(measured, measured.shipped) if measured else {}
    points = [*curve_metrics(trial.standings[-1].curve if trial.standings else ()), *(
        (name, value, trial.epochs) for name, value in last.items()
    )]  # fmt: skip
    begun = run.info.start_time  # a fixed time: logged again, it is the same point
    client.log_batch(identity, metrics=[Metric(name, value, begun + step, step) for name, value, step in points])
    for tag, value in ((STATE, trial.state), ("edgeloop.reason", trial.reason)):
        client.set_tag(identity, tag, value)
    if trial.state != "waiting":
        client.set_terminated(identity, "FAILED" if trial.state == "failed" else "FINISHED")


def _log_data(client: MlflowClient, run: Run, version: DatasetVersion) -> None:
    """The pointer to the data."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    pointer = f"outs:\n- md5: {version.md5}.dir\n  hash: md5\n  path: data\n"
    data = Dataset(name="data", digest=version.md5[:8], source_type="dvc", source=pointer)
    client.log_inputs(run.info.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    client.log_text(run.info.run_id, pointer, "data.dvc")


def _log_files(
    client: MlflowClient, run: Run, candidate: Candidate, decision: GateDecision, version: DatasetVersion
) -> None:
    """The pointer to the data, the checkpoint that training goes on from with its record, and the gate's report."""
    _log_data(client, run, version)
    for file in (candidate.checkpoint, candidate.checkpoint.with_name(RECORD)):
        client.log_artifact(run.info.run_id, str(file), "checkpoint")
    _log_reports(client, run.info.run_id, decision)


def _log_reports(client: MlflowClient, run_id: str, decision: GateDecision, folder: str = "reports") -> None:
    for page in filter(None, (decision.report, decision.candidates)):
        client.log_artifact(run_id, str(page), folder)


class Logged(NamedTuple):
    """One file of a candidate; the one with the last moment, the shipped one, gives the run its metrics."""

    candidate: Candidate
    artifact: Artifact
    moment: int

    @property
    def role(self) -> str:
        """shipped, reference, or which other precision it is."""
        roles = {self.candidate.reference.id: "reference", self.candidate.shipped.id: "shipped"}
        return roles.get(self.artifact.id, f"other-{self.artifact.id}")


def _log_model(client: MlflowClient, run: Run, file: Logged, title: str, params: dict[str, str]) -> str:
    """Log a file with its metrics; returns the id of the logged model."""
    from mlflow.entities import Metric

    where, mark = [run.info.experiment_id], {KEY: run.data.tags[KEY], "edgeloop.role": file.role}
    found = client.search_logged_models(where, " AND ".join(f"tags.`{name}` = '{mark[name]}'" for name in mark))
    model = found[0] if found else client.create_logged_model(
        where[0], title, run.info.run_id, tags={**mark, "sha256": file.artifact.sha256}, params=params,
        model_type="detector",
    )  # fmt: skip
    with _packed(file.artifact) as folder:
        client.log_model_artifacts(model.model_id, str(folder))
    moment = run.info.start_time + file.moment  # a fixed time: logged again, it is the same point
    points = [
        Metric(name, value, moment, 0, model_id=model.model_id, run_id=run.info.run_id)
        for name, value in metrics_of(file.candidate, file.artifact).items()
    ]
    client.log_batch(run.info.run_id, metrics=points)
    client.finalize_logged_model(model.model_id, "READY")
    return cast("str", model.model_id)


@contextmanager
def _packed(artifact: Artifact) -> Iterator[Path]:
    """A folder with the file byte for byte, its record, and what lets `mlflow.onnx.load_model` open it."""
    import mlflow.onnx
    import onnx
    from mlflow.models import Model

    artifact.verify()
    with tempfile.TemporaryDirectory() as name:
        shutil.copy2(artifact.path, name)
        artifact.save(Path(name, artifact.sidecar.name))
        about = Model()
        about.add_flavor(
            mlflow.onnx.FLAVOR_NAME, onnx_version=onnx.__version__, data=artifact.path.name,
            providers=["CPUExecutionProvider"], onnx_session_options=None, code=None,
        )  # fmt: skip
        about.save(str(Path(name, "MLmodel")))
        yield Path(name)


def _version(client: MlflowClient, run: Run, model: str, name: str, tags: dict[str, str]) -> int:
    """The number of the version of this registration: an earlier attempt's or a new one."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    found = client.search_model_versions(f"name = '{name}' AND tags.`{KEY}` = '{tags[KEY]}'")
    made = found[0] if found else client.create_model_version(
        name, f"models:/{model}", run.info.run_id, tags=tags, model_id=model
    )  # fmt: skip
    return int(made.version)


def _read(client: MlflowClient, name: str, number: int) -> ModelVersion:
    """A version as our record. The registry does not fill in its metrics: the logged model has them."""
    found, aliases = client.get_model_version(name, str(number)), client.get_registered_model(name).aliases
    model = client.get_logged_model(found.source.removeprefix("models:/"))
    return ModelVersion(
        name=name,
        version=number,
        model_id=model.model_id,
        run_id=found.run_id,
        artifact_id=found.tags["artifact_id"],
        precision=cast("Precision", found.tags["precision"]),
        dataset_md5=found.tags["dataset_md5"],
        gate=cast("Gate", found.tags["gate"]),
        aliases=tuple(sorted(alias for alias, target in aliases.items() if int(target) == number)),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, timezone.utc),
        metrics={metric.key: metric.value for metric in model.metrics or []},
    )


def _aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias points at; None when there is no such model or alias."""
    models = client.search_registered_models(f"name = '{name}'")
    number = models[0].aliases.get(alias) if models else None
    return None if number is None else _read(client, name, int(number))


def _download(client: MlflowClient, version: ModelVersion, folder: Path) -> None:
    """Fetch the run's records and checkpoint and both files: `folder` is whole or absent."""
    from mlflow.artifacts import download_artifacts

    run = client.get_run(version.run_id)
    models = client.search_logged_models([run.info.experiment_id], f"tags.`{KEY}` = '{run.data.tags[KEY]}'")
    with atomic_directory(folder) as temporary:
        download_artifacts(run_id=version.run_id, artifact_path="", dst_path=str(temporary))
        for model in models:
            role = model.tags["edgeloop.role"]
            if role in OPENED:
                download_artifacts(artifact_uri=f"models:/{model.model_id}", dst_path=str(temporary / role))
