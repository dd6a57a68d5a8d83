"""The two stages: alignment and localization."""
