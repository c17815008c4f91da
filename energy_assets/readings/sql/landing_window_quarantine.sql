-- Keep the refused rows of a window, and all whose time could not be read: they belong to no window.
DELETE FROM temp.staged_quarantine
WHERE starts_us < epoch_us($starts_at_utc::TIMESTAMPTZ) OR starts_us >= epoch_us($ends_at_utc::TIMESTAMPTZ)
