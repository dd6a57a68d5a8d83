"""Places without pixels: points, streets, districts, and which street a point belongs to."""
