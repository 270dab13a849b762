"""A face in the world: camera, framing, light, background, rendering."""
