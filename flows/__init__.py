"""What happens, as tables of contents: each flow is a list of calls, without loops over data and without maths.

Flows may import anything of `tasks`; nothing imports a flow.
"""
