"""What people run by hand, and continuous integration runs as a gate: `plan` and `check`."""
