"""`nightmill doctor`: what this machine lacks for the work, and how to get it."""

from nightmill.doctor.check import Check, exit_code, render
from nightmill.doctor.examine import examine
from nightmill.java import JavaInfo, require_java

__all__ = ["Check", "JavaInfo", "examine", "exit_code", "render", "require_java"]
