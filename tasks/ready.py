"""Stage ready: say that a queue is answered, on which the deployed automation retrains."""

from __future__ import annotations

from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput
from edgeloop.labelling import QueueStatus
from tasks.stage import stage

READY_EVENT = "edgeloop.labels.ready"


@stage(cache=False)
def emit_labels_ready(status: QueueStatus, version: DatasetVersion, config: Config) -> str:
    """Tell Prefect, whose automation starts the retraining with this payload; the event's id.

    Raises:
        BadInput: there is no Prefect server to tell.
    """
    from prefect.events import emit_event

    reason = f"labels ready: {status.labelled} frames of {status.queue} labelled, none waits"
    event = emit_event(
        event=READY_EVENT,
        resource={"prefect.resource.id": f"edgeloop.detector.{config.tracking.model}"},
        payload={"reason": reason, "dataset_md5": version.md5, "labelled": status.labelled},
    )
    if event is None:
        raise BadInput("Prefect sent no event; expected a server at PREFECT_API_URL. Run `edgeloop up` first.")
    return str(event.id)
