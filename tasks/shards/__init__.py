"""Examples packed for training: which clips go where, how a shard is written and read, the data set over many. See FORMAT.md."""
