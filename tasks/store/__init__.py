"""Where artifacts lie. The one door to file://, memory://, gs:// and s3://; nothing else in viska imports fsspec.

Objects are immutable and named by their content, created once, and sealed last: what is sealed is whole, what is not does not exist.
"""
