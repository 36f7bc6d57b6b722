"""The controller of one service hall."""

__version__ = "0.1.0"
