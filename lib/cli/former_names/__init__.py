"""Commands of earlier releases, under the names that crontabs and scripts have."""
