"""The frontal face: colours from photographs, light, surroundings, drawing."""
