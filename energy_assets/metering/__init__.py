"""Metering: where meters are, what they measure, and in which unit; declared registries become contract frames."""
