"""How much is done in one call, wherever a rate must be turned into characters a second."""

# The jobs that a reader may have.
ONE, MANY, SCORE, SCORE_MANY = "one text", "many texts", "scoring one text", "scoring many texts"
LOOP = "a loop without a runtime"  # which nobody can use, only be held to
STREAMS = 64  # texts side by side, where many are drawn at once
OPERATIONS = 1 << 20  # products and sums that a unit of the multiply-add limit counts as
TOP_K, TOP_P = 20, 0.9  # of the rows with filters
