"""Sources of raw material, each returning a City."""
