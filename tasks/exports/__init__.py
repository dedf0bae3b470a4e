"""A trained model in the files of other engines. Nothing is published of which its own engine has not heard what we hear."""
