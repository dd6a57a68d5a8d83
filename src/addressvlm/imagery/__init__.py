"""Pixels of places: photos, satellite pictures, street names drawn on them, grafting."""
