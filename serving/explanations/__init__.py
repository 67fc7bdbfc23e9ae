"""Explanations computed by a worker: jobs and their computation."""
