"""Measured speed; run by hand or by `make bench`, never as a timed test."""
