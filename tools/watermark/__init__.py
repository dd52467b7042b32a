"""The recipe of `pwatermark`: stamp pictures, look at them with the trunk, fit and judge a head."""
