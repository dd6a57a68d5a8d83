"""A made-up city: plan, scene, and its renderings from the street and from above."""
