"""Training in a process of its own: `python -m models.apart` takes a job as JSON on stdin.

Ultralytics draws its augmentations from Python's and NumPy's global generators. In a process whose other threads draw
from them too (Prefect's, for the jitter of their retries), the same seed gives other weights every time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgeloop.card import Card
from edgeloop.errors import BadInput, is_full_disk
from edgeloop.held_out import HeldOut
from edgeloop.record import Record
from models.tuning import Tuning

BAD_INPUT, FULL_DISK, INTERRUPTED = 2, 28, 130  # exit codes of the child; what it says of bad input is on its stdout


class TrainingJob(Record):
    """What to train; see `models.ultralytics_door.train`.

    Attributes:
        data: the data set whose audit side may not be trained on; None for a set without one.
        audits: folders of frames that may not be trained on either.
        tuning: for a second training of `start`.
        until: pause after so many of the epochs; None trains them all.
    """

    data_yaml: Path
    card: Card
    out: Path
    start: Path | None
    epochs: int
    dataset_md5: str
    data: Path | None = None
    audits: tuple[Path, ...] = ()
    tuning: Tuning | None = None
    until: int | None = None


def run(job: TrainingJob) -> int:
    """Train; the record is in `result_folder(job.out, job.epochs, job.until)` then. Returns the exit code."""
    from models.ultralytics_door import train

    try:
        held_out = HeldOut.of(job.data, job.audits)
        asked = {"start": job.start, "epochs": job.epochs, "dataset_md5": job.dataset_md5, "held_out": held_out}
        train(job.data_yaml, job.card, job.out, tuning=job.tuning, until=job.until, **asked)  # type: ignore[arg-type]
    except BadInput as error:
        sys.stdout.write(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if is_full_disk(error):
            return FULL_DISK
        raise
    return 0


if __name__ == "__main__":
    sys.exit(run(TrainingJob.model_validate_json(sys.stdin.read())))
