"""One config.yaml for the whole loop: typed, unknown keys refused, `EDGELOOP_…` variables override it.

Nothing is read at import. Secrets are never in the file: they come from the environment when they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edgeloop.errors import BadInput
from edgeloop.record import explain
from edgeloop.shares import DEFAULT_SHARES, Shares

CONFIG_NAME = "config.yaml"


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrackingSection(Section):
    """The MLflow door. An empty `uri` means SQLite under `var/`."""

    uri: str = ""
    experiment: str = "edgeloop"
    model: str = "detector"


class QueueSection(Section):
    """Where people label. The Label Studio key comes from LABEL_STUDIO_API_KEY."""

    kind: Literal["file", "label-studio"] = "file"
    url: str = "http://127.0.0.1:8090"
    project: str = Field(default="edgeloop-uncertain", min_length=3, max_length=50)  # Label Studio's own title limits
    local_files: Path | None = None  # the folder a Label Studio on this machine serves; None uploads the images


class SamplingSection(Section):
    """How the label budget is spent. Shares are of the budget; what is left goes to the uncertain stratum."""

    budget: int = Field(default=120, ge=1)
    audit_share: float = Field(default=0.15, ge=0, le=1)
    rare_share: float = Field(default=0.2, ge=0, le=1)
    missed_share: float = Field(default=0.15, ge=0, le=1)
    minimum_gap_seconds: float = Field(default=1.0, ge=0)  # between two chosen frames of one camera
    seed: int = 0


class DriftSection(Section):
    """When the stream counts as drifted."""

    window_frames: int = Field(default=200, ge=20)
    persistence: int = Field(default=2, ge=1)  # consecutive drifted windows that make an alarm
    minimum_frames: int = Field(default=100, ge=20)
    reference_frames: int = Field(default=300, ge=100)  # the first that an artifact logs after its promotion
    floor: float = Field(default=0.1, gt=0)  # normed Wasserstein below this is never drift (Evidently's default limit)
    false_alarm_rate: float = Field(default=0.001, gt=0, lt=0.5)  # per column and window, by block bootstrap
    minimum_columns: int = Field(default=2, ge=1)
    seed: int = 0


class Config(BaseSettings):
    """The configuration of one workspace. Relative paths are relative to the folder that holds config.yaml."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="EDGELOOP_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    root: Path = Path()
    data: Path = Path("data")
    var: Path = Path("var")
    store: str = "var/store"  # any fsspec URL: frames and the inference log
    dvc_remote: str = "var/dvc-remote"  # any DVC remote URL
    commit_pointer: bool = True  # in a git checkout, data.dvc is committed with each version
    shares: Shares = DEFAULT_SHARES  # of the groups that nothing else gives a side
    inbox: Path = Path("var/inbox")  # labelled sets and folders of production frames that the ingest flow takes in
    audits: tuple[Path, ...] = ()  # frozen labelled sets at production prevalence that every gate re-scores
    audit_weights: dict[str, Path] = Field(default_factory=dict)  # by name of the set: what its frames stand for
    card: Path = Path("models/cards/sample.yaml")
    sweep: Path = Path("models/cards/sweeps/sample.yaml")
    device: Path = Path("models/devices/cpu.yaml")
    tracking: TrackingSection = TrackingSection()
    queue: QueueSection = QueueSection()
    sampling: SamplingSection = SamplingSection()
    drift: DriftSection = DriftSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which arrives as init arguments."""
        return env_settings, init_settings

    def path(self, value: Path | str) -> Path:
        """A path of the configuration, made absolute against the root."""
        return (self.root / value).resolve()

    def with_budget(self, budget: int | None) -> Config:
        """The same configuration with another label budget; None keeps it."""
        if budget is None:
            return self
        return self.model_copy(update={"sampling": self.sampling.model_copy(update={"budget": budget})})

    @property
    def workspace(self) -> Workspace:
        """The folders and URLs of this configuration, absolute."""
        return Workspace.of(self)


class Workspace(NamedTuple):
    """Where things are, absolute. One workspace is one data set, one registry, one set of stores."""

    root: Path
    data: Path
    pointer: Path  # data.dvc
    var: Path
    snapshots: Path  # one immutable folder per data set version, by md5
    artifacts: Path  # ONNX files and reports
    queue: Path  # the file queue
    reports: Path  # HTML
    inspections: Path  # what was found of the images of each source
    mirrors: Path  # copies of remote sources
    store: str
    dvc_remote: str
    tracking_uri: str
    tracking_artifacts: str

    @classmethod
    def of(cls, config: Config) -> Workspace:
        root, var, data = config.root.resolve(), config.path(config.var), config.path(config.data)
        return cls(
            root=root,
            data=data,
            pointer=data.with_name(data.name + ".dvc"),
            var=var,
            snapshots=var / "snapshots",
            artifacts=var / "artifacts",
            queue=var / "queue",
            reports=var / "reports",
            inspections=var / "inspections",
            mirrors=var / "mirrors",
            store=_absolute(config.store, root),
            dvc_remote=_absolute(config.dvc_remote, root),
            tracking_uri=config.tracking.uri or f"sqlite:///{var / 'mlflow' / 'mlflow.db'}",
            tracking_artifacts=(var / "mlflow" / "artifacts").as_uri(),
        )


def _absolute(url: str, root: Path) -> str:
    return url if "://" in url else str((root / url).resolve())


def load_config(path: Path | None = None) -> Config:
    """Read config.yaml; without a path, the one in this folder or the nearest parent that has one, else the defaults.

    Raises:
        BadInput: the named file is missing, is not YAML, or a key does not fit (the key path is in the message).
    """
    found = path or _nearest()
    document: dict[str, Any] = {}
    if found is not None:
        document = _parse(found)
    document.setdefault("root", (found.parent if found else Path.cwd()).resolve())
    try:
        return Config(**document)
    except ValidationError as error:
        raise BadInput(f"{found or 'environment'}: {explain(error)}") from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); expected edgeloop's config.yaml.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds {type(document).__name__}; expected keys and values.")
    return document


def _nearest() -> Path | None:
    here = Path.cwd()
    return next((folder / CONFIG_NAME for folder in (here, *here.parents) if (folder / CONFIG_NAME).is_file()), None)
