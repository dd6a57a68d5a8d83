"""Pages that people open: one look, one map, each page a single file that loads nothing."""
