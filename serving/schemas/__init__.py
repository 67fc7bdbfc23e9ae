"""What requests and answers look like, and the quick checks of large bodies."""
