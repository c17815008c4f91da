"""What a meter's use looks like: its mean days, who its likes are, and how energy and cost add up over time."""
