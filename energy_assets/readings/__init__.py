"""Readings from files to energy per interval: parsers that stage them, the account of each landing, and cleaning."""
