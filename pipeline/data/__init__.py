"""From a folder of photographs to packed, split, named images."""
