"""What is asked of a photo, how answers are read, and what a model is trained on."""
