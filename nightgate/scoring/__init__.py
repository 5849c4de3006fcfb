"""Scoring: a fitted pipeline as pure data, the fastest exact forms of it, and tables scored with it."""
