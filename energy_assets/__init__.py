"""Energy data and forecasting you can trust: meters to forecasts, anomalies and prices as Dagster assets."""
