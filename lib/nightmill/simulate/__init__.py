"""A city and its plants with known truth and known dirt, of any size, written by Spark. One small file per system."""

from nightmill.simulate.faults import Fault, check_faults, parse_faults
from nightmill.simulate.run import Simulated, simulate
from nightmill.simulate.systems import DATA_SETS, SYSTEMS, chosen, parse_sizes, sized

__all__ = [
    "DATA_SETS",
    "SYSTEMS",
    "Fault",
    "Simulated",
    "check_faults",
    "chosen",
    "parse_faults",
    "parse_sizes",
    "simulate",
    "sized",
]
