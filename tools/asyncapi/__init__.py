"""The wire contract as documents, generated from ``contract``: see ``__main__``."""
