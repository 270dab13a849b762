"""A trained file at work: photographs, folders, frontal faces."""
