"""Dagster, and nothing else: assets that read, call one pure function, replace and report; their checks beside them."""
