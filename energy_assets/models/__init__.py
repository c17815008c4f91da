"""Models behind one `fit` and `predict`: from feature rows to quantiles in kWh, measured and calibrated."""
