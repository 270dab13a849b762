"""A face in a scene: camera, framing, light, background, rendering."""
