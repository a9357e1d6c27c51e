"""Audit of a user's own data: how much could poisoned rows do, and which defense pays?"""
