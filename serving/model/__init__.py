"""The model in memory: loaded, replaced after a promotion, and asked in batches."""
