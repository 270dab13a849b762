"""The frontal face: colour taken from photographs, light, surroundings, drawing."""
