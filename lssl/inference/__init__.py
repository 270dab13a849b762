"""Using what was trained: on photographs, videos, data set folders and frontal faces."""
