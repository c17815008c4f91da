"""Anomalies: exact-rule flags, scores against the meter's own past, events that people act on, and their cost.

Pure functions over frames and arrays: nothing here reads the lake, the clock or the environment. A slot's flag or
score depends on readings up to the end of its own UTC day and never on later ones (the nightly run sees whole days).
"""
