"""Defenses wrap a learner and give back a learner, so that an adaptive attack is the same attack
on a defended learner. None has landed yet: see the changelog.
"""
