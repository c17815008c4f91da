"""Forecasts of energy per node and slot: the ladder that always yields one, sums over nodes, skill after the fact."""
