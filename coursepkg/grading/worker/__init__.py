r"""What runs beside a learner's code: it knows no test, no answer and nothing of the course.

The modules of this folder import one another and NumPy, and no more: graded work runs in a
process that can read them and the packages of its environment, but not the rest of the course.
"""
