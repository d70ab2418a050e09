"""The procedures that are compared, one a file.

Each has `prepare(settings) -> Run`: whatever comes before the first character happens there, and
calling the result with n draws n more characters and returns them.
"""
