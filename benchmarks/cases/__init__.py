"""The procedures that are compared: a file for each library, a function for each procedure.

A procedure is a function `(settings) -> Run`: whatever comes before the first character happens
there, and calling the result with n draws n more characters and returns them.
"""
