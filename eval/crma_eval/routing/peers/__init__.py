"""This project's router beside others, on the same training questions and the same held-out ones.

peers  the others, each behind one method -> measure  fitted, tuned, asked, timed -> command  the table
"""
