"""Beat: sends the tasks of schedules when they are due. `celeriac beat`, and `worker --beat`."""
