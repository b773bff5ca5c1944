"""Tests of what is said to a cluster, against servers of their own that speak its protocols over real HTTP."""
