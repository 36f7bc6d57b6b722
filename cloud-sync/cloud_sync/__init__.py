"""The centre: takes in the events of all halls, keeps them, shows what they mean."""

__version__ = "0.1.0"
