"""A hall's configuration: one TOML file, checked as a whole before anything starts.

- ``sections``: the models of the file's tables; they are the reference
- ``load``: from file to ``HallConfig``, or all of its problems at once
- ``problems``: what a problem is, and how it is said to the person who wrote the file
- ``checks``: what is right in each part and wrong, or doubtful, as a whole
"""

from edge.config.checks import warnings
from edge.config.load import load
from edge.config.problems import ConfigInvalid, Problem
from edge.config.sections import HallConfig

__all__ = ["ConfigInvalid", "HallConfig", "Problem", "load", "warnings"]
