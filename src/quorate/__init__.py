"""quorate: a high-availability cluster stack."""

__version__ = "0.1.0"  # as in pyproject.toml
