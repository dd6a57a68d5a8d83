"""A data set in the formats that other tools read."""
