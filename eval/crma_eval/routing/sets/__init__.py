"""What a router is judged on.

held_out   a dataset folder's own held-out questions, and what is made of them
fresh      real questions that no router was fitted on or tuned to, in six languages
wrapped    some of them inside twelve shapes in which clients send a question
dialogues  some of them in conversations, in five languages

Most fresh questions are kept as places in published packages, with a label, where their texts are read.
"""
