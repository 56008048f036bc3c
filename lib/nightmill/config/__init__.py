"""Typed configuration: data sets, use cases, environments. Unknown keys are refused with file, line and nearest key."""

from nightmill.config.contract import Column, Contract, Time
from nightmill.config.dataset import DataSet
from nightmill.config.environment import Environment
from nightmill.config.load import Configuration, digest
from nightmill.config.source import Source
from nightmill.config.usecase import UseCase

__all__ = ["Column", "Configuration", "Contract", "DataSet", "Environment", "Source", "Time", "UseCase", "digest"]
