"""How much is done in one call, wherever a rate must be turned into characters a second."""

# The jobs that a reader may have.
ONE, MANY, SCORE, SCORE_MANY = "one text", "many texts", "scoring one text", "scoring many texts"
STREAMS = 64  # texts side by side, where many are drawn at once
SIDE = 1024  # of the square matrices whose product gives the matrix-product peak
PRODUCT_FLOPS = 2 * SIDE**3
BATCH = 16  # vectors in one call, each multiplied on its own, so that the call costs nothing
