"""The face model: topology, bilinear shape, colours, decomposition of scans, importers."""
