"""What the tiny model is taught: a question, and the streets it answers with."""

STREETS = ("Oak Street", "Elm Street", "Low Road")
JOINT_ANSWERS = tuple(f"{street}, North" for street in STREETS)
