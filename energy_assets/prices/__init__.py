"""Prices: tomorrow's curve of a zone, what it costs everybody, and how it is handed on.

Library code only: frames and values in, frames and values out. Assets and commands that use it stand elsewhere.
"""
