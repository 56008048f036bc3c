"""Typed configuration: data sets, use cases, environments. Unknown keys are refused with file, line and nearest key."""

from nightmill.config.dataset import Column, Contract, DataSet, Source, Time
from nightmill.config.environment import Environment
from nightmill.config.load import Configuration, digest
from nightmill.config.usecase import UseCase

__all__ = ["Column", "Configuration", "Contract", "DataSet", "Environment", "Source", "Time", "UseCase", "digest"]
