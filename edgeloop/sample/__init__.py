"""Sample data: a generated inspection line, or a user's own labelled set with a part held back as production."""

from edgeloop.sample.generate import generate
from edgeloop.sample.hold_back import hold_back
from edgeloop.sample.scene import DEMO, SIZES, TINY, SampleSize, Scene, Subset, load_scene

__all__ = ["DEMO", "SIZES", "TINY", "SampleSize", "Scene", "Subset", "generate", "hold_back", "load_scene"]
