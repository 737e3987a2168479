"""Tables of experiments, the jobs they consist of, their execution and their report.

Nothing in this package imports torch or mmengine when it is imported: a table is listed in a
fraction of a second, and the process that waits for trainings stays small.
"""
