"""Stage scene: where the demo takes place, generated or divided from the user's own labelled set."""

from __future__ import annotations

from edgeloop.config import Config
from edgeloop.demo import DemoOptions
from edgeloop.formats import read
from edgeloop.sample import SIZES, Scene, generate
from tasks.stage import stage


@stage
def scene(options: DemoOptions, config: Config) -> Scene:
    """The labelled set, two production streams and two audit sets, below `var/scene`.

    Raises:
        BadInput: the user's set has errors or too few frames.
    """
    out = config.workspace.var / "scene"
    if options.data is None:
        return generate(out, SIZES[options.size], options.seed)
    from edgeloop.sample import hold_back

    found = read(options.data)
    return hold_back(found.frames, found.names, out, options.seed)
