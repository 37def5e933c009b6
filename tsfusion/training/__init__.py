"""The fit loop over window indices."""
