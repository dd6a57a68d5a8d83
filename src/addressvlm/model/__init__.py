"""Pixels and tokens in, tokens out."""
