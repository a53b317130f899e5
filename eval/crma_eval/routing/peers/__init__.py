"""This project's router beside others, on the same training questions and the same held-out ones.

split    what all are fitted on, tuned on and asked -> peers, libraries  the others, each behind one method
measure  fitted, tuned, asked, timed -> summary  the table
"""
