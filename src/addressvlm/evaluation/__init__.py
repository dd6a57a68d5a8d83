"""Scores of anything that can answer, and the report."""
