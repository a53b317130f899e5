"""Which parts of a turn ask something, which are given to read, which only say how to answer.

    turn -> segments (structure) -> role classifier (vectors of the pieces, their place) -> what is asked

`bank` and `simulate` are what the role classifier is fitted on.
"""
