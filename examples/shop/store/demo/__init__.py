"""What `manage.py demo` is made of.

`ground` gets the database ready, `crowd` makes up customers and what they do, `worker` runs the worker process,
`account` finds out what came of every task, `screen` prints it, `interrupts` notes Ctrl-C. The command
puts them in order.
"""
