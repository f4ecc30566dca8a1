"""Tasks touch the world: one file a stage, one door to each service."""
