-- Statements for SQLite. Columns are described in common.sql.
-- A writing transaction begins IMMEDIATE: it waits for its turn at the start, where waiting works.

-- The number of a message is the time in microseconds, or the next above the highest there is: it grows, and does
-- not come twice when the last message is gone.

-- name: purgeable
-- queues, limit
SELECT id FROM celeriac_message WHERE state IN (0, 1) AND queue {in_names} LIMIT %s

-- name: promote
-- limit
UPDATE celeriac_message SET state = 0
WHERE id IN (SELECT id FROM celeriac_message WHERE state = 1 AND moment <= {now} ORDER BY moment LIMIT %s)

-- name: publish_message
-- now in microseconds, queue, priority, state, moment
INSERT INTO celeriac_message (id, queue, priority, state, "order", moment)
VALUES (max(%s, coalesce((SELECT max(id) FROM celeriac_message), 0) + 1), %s, %s, %s, 0, %s)

-- name: publish_body
-- task_id, task, created, payload; follows publish_message at once
INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload)
VALUES (last_insert_rowid(), %s, %s, %s, '', %s)

-- name: publish_messages
-- id, queue, priority, state, moment
INSERT INTO celeriac_message (id, queue, priority, state, "order", moment) VALUES (%s, %s, %s, %s, 0, %s)

-- name: publish_bodies
-- id, task_id, task, created, payload
INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload) VALUES (%s, %s, %s, %s, '', %s)

-- name: claimable
-- max bytes, queue, limit
SELECT m.id, m.queue, CASE WHEN length(b.payload) <= %s THEN b.payload ELSE substr(b.payload, 1, 4096) END,
    length(b.payload), NOT EXISTS (SELECT 1 FROM celeriac_revocation)
FROM celeriac_message m JOIN celeriac_body b ON b.message_id = m.id
WHERE m.state = 0 AND m.queue = %s ORDER BY m.priority DESC, m."order", m.id LIMIT %s

-- name: claim
-- consumer, ids
UPDATE celeriac_message SET state = 2, consumer = %s WHERE id {in_ids}

-- name: next_message
-- now in microseconds: the number for the first of several
SELECT max(%s, coalesce((SELECT max(id) FROM celeriac_message), 0) + 1)

-- name: store
-- the columns of store.COLUMNS
INSERT INTO celeriac_taskresult (task_id, state, name, queue, worker, args, kwargs, retries, losses,
    enqueued_at, started_at, finished_at, root_id, parent_id, group_id, result, traceback, children, details)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (task_id) DO UPDATE SET state = excluded.state, name = excluded.name, queue = excluded.queue,
    worker = excluded.worker, args = excluded.args, kwargs = excluded.kwargs, retries = excluded.retries,
    losses = excluded.losses, enqueued_at = excluded.enqueued_at, started_at = excluded.started_at,
    finished_at = excluded.finished_at, root_id = excluded.root_id, parent_id = excluded.parent_id,
    group_id = excluded.group_id, result = excluded.result, traceback = excluded.traceback,
    children = excluded.children, details = excluded.details
WHERE celeriac_taskresult.state <> 'SUCCESS' OR excluded.state = 'SUCCESS'
