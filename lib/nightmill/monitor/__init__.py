"""What a night's tables say of data and predictions: figures, and alarms with hysteresis."""

from nightmill.monitor.alarms import Figure
from nightmill.monitor.stage import Monitored, monitor_data, monitor_predictions

__all__ = ["Figure", "Monitored", "monitor_data", "monitor_predictions"]
