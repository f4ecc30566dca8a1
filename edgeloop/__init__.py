"""The part of the loop that is true anywhere: numpy, a runtime, and no service."""

__version__ = "0.1.0"
