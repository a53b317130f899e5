"""Many domains: five, fifty, two hundred, five hundred, and one added from a few examples.

sources  domains from published packages -> measure  fitted, asked, timed -> command  the report
"""
