"""Weather: observed and forecast, from files and services, and what was believed at an issue time."""
