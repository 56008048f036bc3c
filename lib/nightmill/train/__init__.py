"""Training: fitted transforms, the loop, checkpoints, the Ray worker group, tracking."""
