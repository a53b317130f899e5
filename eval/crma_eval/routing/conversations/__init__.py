"""Scripted conversations: does the router keep to the domain, and follow a change of topic?"""
