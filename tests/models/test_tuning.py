"""What is asked of the trainer beyond its settings: it trains on it, and the checkpoint stays a plain one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgeloop.card import Card, PruneCard
from edgeloop.errors import BadInput
from models.checkpoint import Checkpoint
from models.tuning import Tuning
from models.ultralytics_door import export_onnx, import_ultralytics, open_checkpoint, train
from tests.training_sets import SIDE, toy_card, write_set

END_TO_END = """
nc: 2
end2end: True
reg_max: 1
scales:
  n: [0.33, 0.125, 128]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
head:
  - [[2], 1, Detect, [nc]]
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return toy_card(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames with one square each; a quarter of them is light."""
    data_yaml = write_set(tmp_path_factory.mktemp("set") / "set", train=8, val=4)
    for index, label in enumerate(sorted((data_yaml.parent / "labels/train").iterdir())):
        label.write_text(("1" if index < 2 else "0") + label.read_text()[1:])
    return data_yaml


@pytest.mark.integration
@pytest.mark.parametrize("end_to_end", [False, True])
def test_the_loss_is_weighted(
    card: Card, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end_to_end: bool
) -> None:
    """Every detection loss that is computed, both of an end-to-end head, has the weights; the checkpoint has none.

    "balanced" is what Ultralytics' own cls_pw of 1 gives.
    """
    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils.loss import v8DetectionLoss

    if end_to_end:
        architecture = tmp_path / "e2en.yaml"
        architecture.write_text(END_TO_END)
        card = card.model_copy(update={"architecture": str(architecture)})
    seen: list[Any] = []
    taken = v8DetectionLoss.get_assigned_targets_and_loss

    def looked(self: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(None if self.class_weights is None else self.class_weights.flatten().tolist())
        return taken(self, *arguments, **named)

    monkeypatch.setattr(v8DetectionLoss, "get_assigned_targets_and_loss", looked)
    weighted = card.model_copy(update={"class_weights": "balanced"})
    checkpoint = train(data_yaml, weighted, tmp_path / "run", start=None, epochs=1)
    own = DetectionTrainer.compute_class_weights(_Asked(cls_pw=1.0), np.array([6.0, 2.0]))
    assert len(seen) >= 2 * (1 + end_to_end)
    assert {tuple(np.round(one, 5)) for one in seen} == {tuple(np.round(own / own.mean(), 5))}
    assert "class weights: dark 0.5, light 1.5" in (tmp_path / "run/train.log").read_text()
    assert not hasattr(open_checkpoint(checkpoint.path, card), "class_weights")


class _Asked:
    """A trainer's arguments."""

    def __init__(self, **arguments: float) -> None:
        self.args = type("Arguments", (), arguments)


@pytest.mark.integration
def test_weights_of_a_class_that_is_not_there(card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """Nothing is trained or written."""
    weighted = card.model_copy(update={"class_weights": {"rust": 2.0}})
    with pytest.raises(BadInput, match=r"rust; expected some of dark, light"):
        train(data_yaml, weighted, tmp_path / "run", start=None, epochs=1)
    assert list(tmp_path.iterdir()) == []


CUT = """
nc: 2
scales:
  n: [0.33, 0.25, 128]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, C2f, [128, True]]
  - [-1, 1, Conv, [128, 3, 2]]
head:
  - [[3], 1, Detect, [nc]]
"""


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """A detector with a block that cuts its channels in two."""
    folder = tmp_path_factory.mktemp("cut")
    (folder / "cutn.yaml").write_text(CUT)
    return toy_card(folder).model_copy(update={"name": "cut", "architecture": str(folder / "cutn.yaml")})


@pytest.fixture(scope="module")
def trained(cut: Card, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train(data_yaml, cut, tmp_path_factory.mktemp("trained") / "run", start=None, epochs=1)


def widths(model: Any) -> dict[str, int]:
    return {name: module.out_channels for name, module in model.named_modules() if hasattr(module, "out_channels")}


@pytest.mark.integration
def test_a_pruned_detector_is_a_detector(trained: Checkpoint, cut: Card, data_yaml: Path, tmp_path: Path) -> None:
    """Channels are gone, outputs are not; the checkpoint opens, exports to what torch computes, and says what it is.

    A training that continues from it keeps its shape, whatever the architecture's YAML says.
    """
    import torch

    tuning = Tuning(learning_rate=0.001, prune=PruneCard(ratio=0.5, round_to=4))
    named = {"start": trained.path, "epochs": 1, "tuning": tuning}
    pruned = train(data_yaml, cut, tmp_path / "pruned", **named)  # type: ignore[arg-type]
    before, after = (open_checkpoint(one.path, cut) for one in (trained, pruned))
    assert (trained.pruned, pruned.pruned, pruned.start_sha256) == (0.0, 0.5, trained.sha256)
    halved = [name for name, width in widths(after).items() if width == widths(before)[name] // 2]
    assert {"model.0.conv", "model.2.cv1.conv", "model.2.m.0.cv1.conv", "model.3.conv"} <= set(halved)
    assert widths(after)["model.4.cv3.0.2"] == 2

    artifact = export_onnx(pruned, cut, pruned.names, tmp_path / "pruned.onnx")
    array = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    got = onnxruntime.InferenceSession(artifact.path).run(None, {"images": array})[0]
    with torch.no_grad():
        np.testing.assert_allclose(got, after(torch.from_numpy(array))[0].numpy(), rtol=1e-3, atol=1e-3)

    more = train(data_yaml, cut, tmp_path / "more", start=pruned.path, epochs=1)
    assert widths(open_checkpoint(more.path, cut)) == widths(after)
    assert more.pruned == 0.5
    again = train(data_yaml, cut, tmp_path / "again", **named)  # type: ignore[arg-type]
    assert again.path.read_bytes() == pruned.path.read_bytes()


@pytest.mark.integration
def test_a_pruned_start_with_other_classes_is_bad_input(
    trained: Checkpoint, cut: Card, data_yaml: Path, tmp_path: Path
) -> None:
    """The head cannot be exchanged: it no longer fits the YAML either. Nothing is written."""
    more = write_set(tmp_path / "set", train=4, val=2)
    more.write_text(more.read_text() + "  2: grey\n")
    tuning = Tuning(learning_rate=0.001, prune=PruneCard())
    with pytest.raises(BadInput, match=r"for 2 classes; the data set has 3"):
        train(more, cut, tmp_path / "run", start=trained.path, epochs=1, tuning=tuning)
    assert not (tmp_path / "run").exists()


def test_the_smallest_channels_go() -> None:
    """Those whose weights are next to nothing in everything that holds them: the others are left as they were."""
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel
    from yaml import safe_load

    from models.prune import prune

    torch.manual_seed(0)
    model = DetectionModel({**safe_load(CUT), "scale": "n"}, verbose=False).eval()
    first, second = model.model[2].m[0].cv1, model.model[2].m[0].cv2  # nothing but the second reads the first
    with torch.no_grad():
        for values in (first.conv.weight, first.bn.weight, second.conv.weight.transpose(0, 1)):
            values[::2] *= 1e-6
    kept = first.conv.weight[1::2].norm(dim=(2, 3)).sum(dim=1).detach()
    prune(model, PruneCard(ratio=0.5, round_to=1), SIDE)
    left = model.model[2].m[0].cv1.conv.weight
    assert left.shape[0] == len(kept)
    assert left.shape[1] == first.conv.in_channels == model.model[2].c
    assert (left.norm(dim=(2, 3)) > 1e-3).all()


def test_both_branches_of_an_end_to_end_head_shrink() -> None:
    """In training the one-to-one branch is cut off the trunk; it reads fewer channels all the same."""
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel
    from yaml import safe_load

    from models.prune import prune

    model = DetectionModel({**safe_load(END_TO_END), "scale": "n"}, verbose=False)
    head = model.model[-1]
    read = [branch[0][0].conv.in_channels for branch in (head.cv2, head.one2one_cv2)]
    prune(model, PruneCard(ratio=0.5, round_to=1), SIDE)
    assert [branch[0][0].conv.in_channels for branch in (head.cv2, head.one2one_cv2)] == [one // 2 for one in read]
    assert model.train()(torch.zeros(2, 3, SIDE, SIDE))["one2one"]["scores"].shape[1] == 2
