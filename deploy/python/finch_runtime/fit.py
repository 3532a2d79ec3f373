"""How a photograph becomes a square: its middle is cut out, or each side is scaled on its own."""

FITS = ("crop", "stretch")
