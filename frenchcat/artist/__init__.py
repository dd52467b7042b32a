"""The bundled artist's files: weights in 16 bit, what they were trained on, the card.

Made by ``python -m tools.artist export``, read by `frenchcat.train.artist`.
"""
