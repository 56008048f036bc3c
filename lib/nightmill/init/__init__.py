"""A CSV file -> the YAML of a data set and of a use case that run as they are written."""

from nightmill.init.propose import Proposed, propose

__all__ = ["Proposed", "propose"]
